// The shortest decimal number that reads as a float64: Ryu, as Zig's standard library has it.

const float = @import("std").fmt.float;

/// Of a finite number that is not 0, without its sign: the digits are returned, times 10 to the exponent.
export fn millrace_shortest(bits: u64, exponent: *i32) callconv(.c) u64 {
    const found = float.binaryToDecimal(u64, bits, 52, 11, false, float.Backend64_TablesSmall);
    exponent.* = found.exponent;
    return found.mantissa;
}
