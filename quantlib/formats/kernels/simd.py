"""Eight numbers as one value, for kernels whose loops are too short for the compiler to vectorize by itself.

A vector has eight float32, int32 or booleans. Operators work lane by lane, with a scalar on the right too; every
float32 operation rounds on its own, as a scalar one does. The code is LLVM's own vector code, the same on every
processor: one instruction each with AVX2, two with SSE or NEON.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.typing.templates import AbstractTemplate, infer_global
from numba.extending import intrinsic, lower_builtin, register_model

WIDTH = 8
BYTE = ir.IntType(8)
WORD = ir.IntType(32)


class Vector(types.Type):
    """The type of eight numbers of one scalar type."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


FLOATS, INTS, FLAGS = Vector(types.float32), Vector(types.int32), Vector(types.boolean)
_SCALARS = {FLOATS: ir.FloatType(), INTS: WORD, FLAGS: ir.IntType(1)}
_LLVM = {vector: ir.VectorType(scalar, WIDTH) for vector, scalar in _SCALARS.items()}
_SUFFIX = {FLOATS: "v8f32", INTS: "v8i32"}


@register_model(Vector)
class _Model(models.PrimitiveModel):
    def __init__(self, manager, vector: Vector) -> None:
        super().__init__(manager, vector, _LLVM[vector])


def _spread(builder, scalar, vector: Vector):
    """A scalar in every lane."""
    whole = builder.insert_element(ir.Constant(_LLVM[vector], ir.Undefined), scalar, WORD(0))
    return builder.shuffle_vector(whole, whole, ir.Constant(ir.VectorType(WORD, WIDTH), [0] * WIDTH))


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
    """Where element `index` of a contiguous one-dimensional array lies, as a pointer to something else."""
    data = context.make_array(kind)(context, builder, array).data
    at = context.cast(builder, index, index_kind, types.intp)
    return builder.bitcast(builder.gep(data, [at]), pointee.as_pointer())


@intrinsic
def splat(typingctx, scalar):
    """A float or a whole number in every lane."""
    vector = FLOATS if isinstance(scalar, types.Float) else INTS

    def code(context, builder, signature, arguments):
        return _as_vector(context, builder, arguments[0], scalar, vector)

    return vector(scalar), code


@intrinsic
def load(typingctx, array, index):
    """Eight neighbours from `index` on, of a float32 or int32 array; of bytes or signed bytes, widened to int32."""
    vector = FLOATS if array.dtype == types.float32 else INTS
    narrow = array.dtype in (types.uint8, types.int8)

    def code(context, builder, signature, arguments):
        stored = ir.VectorType(BYTE, WIDTH) if narrow else _LLVM[vector]
        place = _address(context, builder, array, arguments[0], arguments[1], index, stored)
        loaded = builder.load(place, align=array.dtype.bitwidth // 8)
        if narrow:
            widen = builder.zext if array.dtype == types.uint8 else builder.sext
            return widen(loaded, _LLVM[INTS])
        return loaded

    return vector(array, index), code


@intrinsic
def store(typingctx, array, index, value):
    """Put eight numbers from `index` on into a float32 or int32 array; of whole numbers the low bytes into bytes."""
    narrow = array.dtype == types.uint8

    def code(context, builder, signature, arguments):
        stored = ir.VectorType(BYTE, WIDTH) if narrow else _LLVM[value]
        place = _address(context, builder, array, arguments[0], arguments[1], index, stored)
        packed = builder.trunc(arguments[2], stored) if narrow else arguments[2]
        builder.store(packed, place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.none(array, index, value), code


@intrinsic
def turn(typingctx, source, index, apart, target, to):
    """Turn eight rows of eight float32, the first from source[index] on, `apart` from each to the next.

    Number i of row k comes to stand at target[to + 8 · i + k].
    """

    def code(context, builder, signature, arguments):
        source_kind, _, _, target_kind, _ = signature.args
        index, apart, to = (context.cast(builder, arguments[i], signature.args[i], types.intp) for i in (1, 2, 4))
        rows = []
        for k in range(WIDTH):
            at = builder.add(index, builder.mul(apart, ir.IntType(64)(k)))
            place = _address(context, builder, source_kind, arguments[0], at, types.intp, _LLVM[FLOATS])
            rows.append(builder.load(place, align=4))
        for half in (1, 2, 4):  # rows k and k + half trade the halves of each stretch of 2 · half numbers
            low = [i if not i & half else i - half + WIDTH for i in range(WIDTH)]
            high = [i + half if not i & half else i + WIDTH for i in range(WIDTH)]
            masks = [ir.Constant(ir.VectorType(WORD, WIDTH), mask) for mask in (low, high)]
            traded = list(rows)
            for k in range(WIDTH):
                if not k & half:
                    traded[k] = builder.shuffle_vector(rows[k], rows[k + half], masks[0])
                    traded[k + half] = builder.shuffle_vector(rows[k], rows[k + half], masks[1])
            rows = traded
        for i, row in enumerate(rows):
            at = builder.add(to, ir.IntType(64)(WIDTH * i))
            place = _address(context, builder, target_kind, arguments[3], at, types.intp, _LLVM[FLOATS])
            builder.store(row, place, align=4)
        return context.get_dummy_value()

    return types.none(source, index, apart, target, to), code


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
def lanes(typingctx, first, step):
    """first, first + step, …: eight whole numbers, both constants of the kernel."""

    def code(context, builder, signature, arguments):
        numbers = ir.Constant(_LLVM[INTS], list(range(WIDTH)))
        start, by = (_as_vector(context, builder, a, k, INTS) for a, k in zip(arguments, (first, step), strict=True))
        return builder.add(start, builder.mul(by, numbers))

    return INTS(first, step), code


@intrinsic
def select(typingctx, flags, yes, no):
    """`yes` where the flag is set, `no` elsewhere; either may be a scalar."""
    vector = yes if isinstance(yes, Vector) else no

    def code(context, builder, signature, arguments):
        yes_no = (_as_vector(context, builder, a, k, vector) for a, k in zip(arguments[1:], (yes, no), strict=True))
        return builder.select(arguments[0], *yes_no)

    return vector(flags, yes, no), code


def _lanewise(emit, result=None):
    """An intrinsic of two operands, the second a vector or a scalar. emit(builder, a, b, vector) -> value."""

    @intrinsic
    def function(typingctx, a, b):
        def code(context, builder, signature, arguments):
            second = _as_vector(context, builder, arguments[1], b, a)
            return emit(builder, arguments[0], second, a)

        return (result or a)(a, b), code

    return function


def _define(symbol, emit, result=None) -> None:
    """Give vectors an operator; compiled in place, unlike an overload, which would be a function for itself."""

    @infer_global(symbol)
    class Typing(AbstractTemplate):
        def generic(self, arguments, keywords):
            if isinstance(arguments[0], Vector):
                return (result or arguments[0])(*arguments)

    @lower_builtin(symbol, Vector, types.Any)
    def lower(context, builder, signature, arguments):
        a, b = signature.args
        return emit(builder, arguments[0], _as_vector(context, builder, arguments[1], b, a), a)


def _comparison(sign: str):
    def emit(builder, a, b, vector):
        return (builder.fcmp_ordered if vector is FLOATS else builder.icmp_signed)(sign, a, b)

    return emit


def _by_kind(name: str):
    def emit(builder, a, b, vector):
        return getattr(builder, "f" + name if vector is FLOATS else name)(a, b)

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
    _define(_symbol, _comparison(_sign), FLAGS)


def _by_name(name: str):
    def emit(builder, a, b, vector):
        return _call(builder, f"llvm.{name}.{_SUFFIX[vector]}", a.type, [a, b])

    return emit


smaller = _lanewise(_by_name("smin"))  # of whole numbers
larger = _lanewise(_by_name("smax"))
larger_unsigned = _lanewise(_by_name("umax"))


def _unary(emit, result=None):
    """An intrinsic of one vector. emit(builder, a, vector) -> value."""

    @intrinsic
    def function(typingctx, a):
        def code(context, builder, signature, arguments):
            return emit(builder, arguments[0], a)

        return (result or a)(a), code

    return function


def _function_of(name: str):
    return _unary(lambda builder, a, vector: _call(builder, f"llvm.{name}.{_SUFFIX[vector]}", a.type, [a]))


def _reduction(name: str):
    def emit(builder, a, vector):
        return _call(builder, f"llvm.vector.reduce.{name}.{_SUFFIX[vector]}", _SCALARS[vector], [a])

    return _unary(emit, types.int32)


magnitude = _function_of("fabs")
root = _function_of("sqrt")
truncated = _function_of("trunc")
as_ints = _unary(lambda builder, a, vector: builder.fptosi(a, _LLVM[INTS]), INTS)  # towards zero; within their range
as_floats = _unary(lambda builder, a, vector: builder.sitofp(a, _LLVM[FLOATS]), FLOATS)
bits_of = _unary(lambda builder, a, vector: builder.bitcast(a, _LLVM[INTS]), INTS)
floats_of = _unary(lambda builder, a, vector: builder.bitcast(a, _LLVM[FLOATS]), FLOATS)
largest_of = _reduction("smax")  # of whole numbers
smallest_of = _reduction("smin")
largest_unsigned_of = _reduction("umax")
minuses = _unary(lambda builder, a, vector: builder.ashr(a, _spread(builder, WORD(31), INTS)))  # −1 below zero, or 0


@intrinsic
def flag_bits(typingctx, flags):
    """The eight flags as bits of a whole number, lane 0 the lowest."""

    def code(context, builder, signature, arguments):
        return builder.zext(builder.bitcast(arguments[0], BYTE), WORD)

    return types.int32(flags), code


@intrinsic
def first_flag(typingctx, flags):
    """The first lane whose flag is set; 8 where none is."""

    def code(context, builder, signature, arguments):
        bits = builder.zext(builder.bitcast(arguments[0], BYTE), WORD)
        return builder.cttz(builder.or_(bits, WORD(1 << WIDTH)), ir.Constant(ir.IntType(1), 1))

    return types.int32(flags), code
