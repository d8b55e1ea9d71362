"""Eight or sixteen numbers as one value, for kernels whose loops are too short for the compiler to vectorize by itself.

A vector has float32, int32, booleans or, for sums that must be exact, float64. Operators work lane by lane, with a
scalar on the right too; every operation on floats rounds on its own, as a scalar one does. The code is LLVM's own
vector code, the same on every processor: eight lanes are one instruction each with AVX2, two with SSE or NEON. Sixteen
lanes, two instructions or one with AVX-512, are for searches, whose sums would else wait for each other.

Places in arrays count their numbers in order, through all rows.

Leans on: numba's interface for extensions (numba.extending, cgutils, templates), which is documented. It has no
substitute: without vectors every kernel would be another one.
"""

import operator
from collections.abc import Callable
from typing import Any

from quantlib.numba_runtime.start import start

start()

from llvmlite import ir  # noqa: E402
from numba import types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.core.datamodel import models  # noqa: E402
from numba.core.typing.templates import AbstractTemplate, infer_global  # noqa: E402
from numba.extending import intrinsic as numba_intrinsic  # noqa: E402
from numba.extending import lower_builtin, register_model  # noqa: E402

# Kernels call an operation without the typing context that its declaration has.
intrinsic: Callable[[Callable[..., Any]], Callable[..., Any]] = numba_intrinsic
WIDTH = 8
WIDE = 16
BYTE = ir.IntType(8)
WORD = ir.IntType(32)
_SCALARS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: WORD,
    types.boolean: ir.IntType(1),
}


class Vector(types.Type):
    """The type of so many numbers of one scalar type."""

    def __init__(self, dtype: types.Type, width: int) -> None:
        self.dtype = dtype
        self.width = width
        super().__init__(name=f"Vector({dtype}, {width})")

    def of(self, dtype: types.Type) -> "Vector":
        """As many numbers of another type."""
        return Vector(dtype, self.width)

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(_SCALARS[self.dtype], self.width)

    @property
    def suffix(self) -> str:
        """What LLVM's functions of such vectors are called."""
        return f"v{self.width}{'f' if self.dtype == types.float32 else 'i'}32"


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def _spread(builder, scalar, vector: Vector):
    """A scalar in every lane."""
    whole = builder.insert_element(ir.Constant(vector.llvm, ir.Undefined), scalar, WORD(0))
    return builder.shuffle_vector(whole, whole, ir.Constant(ir.VectorType(WORD, vector.width), [0] * vector.width))


def _as_vector(context, builder, value, kind: types.Type, vector: Vector):
    if isinstance(kind, Vector):
        return value
    return _spread(builder, context.cast(builder, value, kind, vector.dtype), vector)


def _call(builder, name: str, result, arguments):
    """Call an intrinsic function of LLVM."""
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(result, [argument.type for argument in arguments]), name
    )
    return builder.call(function, arguments)


def _address(context, builder, kind: types.Array, array, index, index_kind, pointee):
    """Where number `index` of a contiguous array lies, counted through all its rows, as a pointer to something else."""
    data = context.make_array(kind)(context, builder, array).data
    at = context.cast(builder, index, index_kind, types.intp)
    return builder.bitcast(builder.gep(data, [at]), pointee.as_pointer())


def _splatting(width: int):
    @intrinsic
    def splat(typingctx, scalar):
        """A float or a whole number in every lane."""
        vector = Vector(types.float32 if isinstance(scalar, types.Float) else types.int32, width)

        def code(context, builder, signature, arguments):
            return _as_vector(context, builder, arguments[0], scalar, vector)

        return vector(scalar), code

    return splat


def _loading(width: int):
    @intrinsic
    def load(typingctx, array, index):
        """Neighbours from `index` on, of a float32 or int32 array; of bytes or signed bytes, widened to int32."""
        vector = Vector(types.float32 if array.dtype == types.float32 else types.int32, width)
        narrow = array.dtype in (types.uint8, types.int8)

        def code(context, builder, signature, arguments):
            stored = ir.VectorType(BYTE, width) if narrow else vector.llvm
            place = _address(context, builder, array, arguments[0], arguments[1], index, stored)
            loaded = builder.load(place, align=array.dtype.bitwidth // 8)
            if narrow:
                widen = builder.zext if array.dtype == types.uint8 else builder.sext
                return widen(loaded, vector.llvm)
            return loaded

        return vector(array, index), code

    return load


splat, splat_wide = _splatting(WIDTH), _splatting(WIDE)
load, load_wide = _loading(WIDTH), _loading(WIDE)


@intrinsic
def store(typingctx, array, index, value):
    """Put numbers from `index` on into an array of their type; of whole numbers the low bytes into bytes."""
    narrow = array.dtype == types.uint8

    def code(context, builder, signature, arguments):
        stored = ir.VectorType(BYTE, value.width) if narrow else value.llvm
        place = _address(context, builder, array, arguments[0], arguments[1], index, stored)
        packed = builder.trunc(arguments[2], stored) if narrow else arguments[2]
        builder.store(packed, place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, index, value), code


@intrinsic
def turn(typingctx, source, index, apart, target, to, step):
    """Turn eight rows of eight float32, the first from source[index] on, `apart` from each to the next.

    Number i of row k comes to stand at target[to + step · i + k].
    """
    row = Vector(types.float32, WIDTH).llvm

    def places(context, builder, signature, arguments, which):
        """The addresses of eight rows of an array."""
        array, start, apart = arguments[which : which + 3]
        kinds = signature.args[which : which + 3]
        start, apart = (context.cast(builder, a, k, types.intp) for a, k in ((start, kinds[1]), (apart, kinds[2])))
        for k in range(WIDTH):
            at = builder.add(start, builder.mul(apart, apart.type(k)))
            yield _address(context, builder, kinds[0], array, at, types.intp, row)

    def code(context, builder, signature, arguments):
        rows = [builder.load(place, align=4) for place in places(context, builder, signature, arguments, 0)]
        for half in (1, 2, 4):  # rows k and k + half trade the halves of each stretch of 2 · half numbers
            low = [i + (WIDTH - half if i & half else 0) for i in range(WIDTH)]
            high = [i + (WIDTH if i & half else half) for i in range(WIDTH)]
            low, high = (ir.Constant(ir.VectorType(WORD, WIDTH), mask) for mask in (low, high))
            for k in range(WIDTH):
                if not k & half:
                    pair = rows[k], rows[k + half]
                    rows[k], rows[k + half] = (builder.shuffle_vector(*pair, mask) for mask in (low, high))
        for place, value in zip(places(context, builder, signature, arguments, 3), rows, strict=True):
            builder.store(value, place, align=4)
        return context.get_dummy_value()

    return types.none(source, index, apart, target, to, step), code


@intrinsic
def pick(typingctx, array, index):
    """One number of an array, which must have that index; a negative one does not count from the end."""

    def code(context, builder, signature, arguments):
        scalar = context.get_data_type(array.dtype)
        return builder.load(_address(context, builder, array, arguments[0], arguments[1], index, scalar))

    return array.dtype(array, index), code


@intrinsic
def put(typingctx, array, index, value):
    """Store one number; see `pick`."""

    def code(context, builder, signature, arguments):
        scalar = context.get_data_type(array.dtype)
        number = context.cast(builder, arguments[2], value, array.dtype)
        builder.store(number, _address(context, builder, array, arguments[0], arguments[1], index, scalar))
        return context.get_dummy_value()

    return types.none(array, index, value), code


@intrinsic
def pick_word(typingctx, array, index):
    """Four bytes of an array of bytes or float32, from `index` on, as one number, the lowest byte first."""

    def code(context, builder, signature, arguments):
        return builder.load(_address(context, builder, array, arguments[0], arguments[1], index, WORD), align=1)

    return types.uint32(array, index), code


@intrinsic
def put_word(typingctx, array, index, value):
    """Store four bytes; see `pick_word`."""

    def code(context, builder, signature, arguments):
        number = context.cast(builder, arguments[2], value, types.uint32)
        place = _address(context, builder, array, arguments[0], arguments[1], index, WORD)
        builder.store(number, place, align=1)
        return context.get_dummy_value()

    return types.none(array, index, value), code


@intrinsic
def lanes(typingctx, first, step):
    """first, first + step, …: eight whole numbers, both constants of the kernel."""
    vector = Vector(types.int32, WIDTH)

    def code(context, builder, signature, arguments):
        numbers = ir.Constant(vector.llvm, list(range(WIDTH)))
        start, by = (_as_vector(context, builder, a, k, vector) for a, k in zip(arguments, (first, step), strict=True))
        return builder.add(start, builder.mul(by, numbers))

    return vector(first, step), code


@intrinsic
def select(typingctx, flags, yes, no):
    """`yes` where the flag is set, `no` elsewhere; either may be a scalar."""
    vector = yes if isinstance(yes, Vector) else no

    def code(context, builder, signature, arguments):
        yes_no = (_as_vector(context, builder, a, k, vector) for a, k in zip(arguments[1:], (yes, no), strict=True))
        return builder.select(arguments[0], *yes_no)

    return vector(flags, yes, no), code


def _lanewise(emit):
    """An intrinsic of two operands, the second a vector or a scalar. emit(builder, a, b, vector) -> value."""

    @intrinsic
    def function(typingctx, a, b):
        def code(context, builder, signature, arguments):
            second = _as_vector(context, builder, arguments[1], b, a)
            return emit(builder, arguments[0], second, a)

        return a(a, b), code

    return function


def _define(symbol, emit, result=None) -> None:
    """Give vectors an operator; compiled in place, unlike an overload, which would be a function for itself."""

    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, arguments, keywords):
            if isinstance(arguments[0], Vector):
                return (arguments[0].of(result) if result else arguments[0])(*arguments)

    @lower_builtin(symbol, Vector, types.Any)
    def lower(context, builder, signature, arguments):
        a, b = signature.args
        return emit(builder, arguments[0], _as_vector(context, builder, arguments[1], b, a), a)


def _comparison(sign: str):
    def emit(builder, a, b, vector):
        return (builder.fcmp_ordered if isinstance(vector.dtype, types.Float) else builder.icmp_signed)(sign, a, b)

    return emit


def _by_kind(name: str):
    def emit(builder, a, b, vector):
        return getattr(builder, "f" + name if isinstance(vector.dtype, types.Float) else name)(a, b)

    return emit


for _symbol, _name in ((operator.add, "add"), (operator.sub, "sub"), (operator.mul, "mul")):
    _define(_symbol, _by_kind(_name))
_define(operator.truediv, lambda builder, a, b, vector: builder.fdiv(a, b))
_define(operator.and_, lambda builder, a, b, vector: builder.and_(a, b))
_define(operator.or_, lambda builder, a, b, vector: builder.or_(a, b))
_define(operator.xor, lambda builder, a, b, vector: builder.xor(a, b))
_define(operator.lshift, lambda builder, a, b, vector: builder.shl(a, b))
_define(operator.rshift, lambda builder, a, b, vector: builder.lshr(a, b))  # zeros come in
for _symbol, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
):
    _define(_symbol, _comparison(_sign), types.boolean)


def _by_name(name: str):
    def emit(builder, a, b, vector):
        return _call(builder, f"llvm.{name}.{vector.suffix}", a.type, [a, b])

    return emit


smaller = _lanewise(_by_name("smin"))  # of whole numbers
larger = _lanewise(_by_name("smax"))


def _unary(emit, result=None):
    """An intrinsic of one vector. emit(builder, a, vector) -> value; result(vector) -> its type, if another one."""

    @intrinsic
    def function(typingctx, a):
        def code(context, builder, signature, arguments):
            return emit(builder, arguments[0], a)

        return (result(a) if result else a)(a), code

    return function


def _conversion(name: str, dtype: types.Type):
    """An intrinsic that makes numbers of another type."""
    return _unary(
        lambda builder, a, vector: getattr(builder, name)(a, vector.of(dtype).llvm), lambda vector: vector.of(dtype)
    )


def _function_of(name: str):
    return _unary(lambda builder, a, vector: _call(builder, f"llvm.{name}.{vector.suffix}", a.type, [a]))


def _reduction(name: str):
    def emit(builder, a, vector):
        return _call(builder, f"llvm.vector.reduce.{name}.{vector.suffix}", _SCALARS[vector.dtype], [a])

    return _unary(emit, lambda vector: types.int32)


magnitude = _function_of("fabs")
root = _function_of("sqrt")
truncated = _function_of("trunc")
as_ints = _conversion("fptosi", types.int32)  # towards zero; within their range
as_floats = _conversion("sitofp", types.float32)
as_doubles = _conversion("fpext", types.float64)
bits_of = _conversion("bitcast", types.int32)
floats_of = _conversion("bitcast", types.float32)
largest_of = _reduction("smax")  # of whole numbers
smallest_of = _reduction("smin")


@intrinsic
def flag_bits(typingctx, flags):
    """The flags as bits of a whole number, lane 0 the lowest."""

    def code(context, builder, signature, arguments):
        return builder.zext(builder.bitcast(arguments[0], ir.IntType(flags.width)), WORD)

    return types.int32(flags), code


@intrinsic
def first_flag(typingctx, flags):
    """The first lane whose flag is set; their number where none is."""

    def code(context, builder, signature, arguments):
        bits = builder.zext(builder.bitcast(arguments[0], ir.IntType(flags.width)), WORD)
        return builder.cttz(builder.or_(bits, WORD(1 << flags.width)), ir.Constant(ir.IntType(1), 1))

    return types.int32(flags), code
