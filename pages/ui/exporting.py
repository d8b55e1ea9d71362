"""The work of an export job: the codes, the folder, and one file of it to download."""

import tarfile
from collections.abc import Mapping, Sequence

import quantlib as ql
from pages.server.jobs import Job
from pages.server.opened import Opened, check_fetchable
from pages.ui import measuring
from quantlib import lm
from quantlib.exports import Exported, Kind, export, prepare

COPIES = 2  # the folder and the file of it are on the disk together


def room_for(checkpoint: ql.Checkpoint) -> int:
    """Bytes of disk that an export may take: it is never larger than its source."""
    return COPIES * checkpoint.nbytes


def export_folder(
    job: Job,
    opened: Opened,
    scheme: Kind,
    texts: Mapping[str, str],
    context: int,
    samples: int | None,
    ignore: Sequence[str],
) -> Exported:
    """Choose the codes, write the folder, and put it into one tar file, which needs no compression.

    samples: windows of the texts at most. ignore: patterns of matrices that stay as they are.
    """
    checkpoint = opened.checkpoint
    check_fetchable(checkpoint)
    prepared = None
    if scheme.needs_text:
        measuring.check_runnable(checkpoint)
        job.show(0.0, "Loading the model")
        model, tokenizer = lm.load(checkpoint, decoded=False), lm.Tokenizer.of(checkpoint)
        tokens = tokenizer.encode("\n\n".join(texts.values()))
        windows = lm.cut(model, tokens, min(context, model.shape.context), tokenizer.bos)
        windows = lm.spread(windows, samples * windows.context) if samples else windows
        show = measuring.step(job, 0.05, 0.85, "Choosing codes")
        prepared = prepare(checkpoint, scheme, model, windows, show, ignore)
    show = measuring.step(job, 0.85 if prepared else 0.0, 0.97, "Writing the folder")
    out = job.new_file(f"{opened.stem}-{scheme.label}")
    result = export(checkpoint, out, scheme, prepared, lambda share, name: show(share), job.stop.is_set, ignore=ignore)
    job.show(0.97, "Putting it into one file")
    path = job.new_file("model.tar")
    with tarfile.open(path, "w") as archive:
        archive.add(out, arcname=out.name)
    job.path = path
    return result
