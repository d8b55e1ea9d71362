# The app on port 8501. Build: docker build -t quantlib .   Run: see SERVING.md.
# One image for all machines, by its digest as Docker's list of official images has it; SERVING.md tells how to renew it.
FROM python:3.11.15-slim-bookworm@sha256:d29f48a31a8b408ed19272ca1e7b10ebae13b240a27e862d3d4217c528e2e0c3

RUN useradd --create-home --uid 1000 app
WORKDIR /app
# Every package in its exact version and with its hash; SERVING.md tells how the lock file is made.
COPY requirements.lock .
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY app.py LICENSE README.md ./
COPY .streamlit .streamlit
COPY assets assets
COPY pages pages
COPY quantlib quantlib

# /data holds uploads and results, /kernels the compiled code; they and /tmp are the only places that are written to.
ENV QUANTLIB_FOLDER=/data NUMBA_CACHE_DIR=/kernels PYTHONDONTWRITEBYTECODE=1
RUN mkdir /data /kernels && chown app /data /kernels
USER app
# Compile every kernel now, so that nobody waits for it later.
RUN python -c "from quantlib import formats; formats.warm_up()"

# It listens where PORT says, as hosts of containers ask for.
ENV PORT=8501
EXPOSE 8501
HEALTHCHECK CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/_stcore/health', timeout=10)"]
CMD ["sh", "-c", "exec python -m streamlit run app.py --server.address=0.0.0.0 --server.headless=true --server.port=${PORT:-8501} \"$@\"", "streamlit"]
