/* Numbers as text, spelled as Python's repr spells them. */

#include "kernel.h"

#include <string.h>

enum { DIGITS = 20, MOST_POINT = 16, LEAST_POINT = -3 };

uint64_t millrace_shortest(uint64_t bits, int32_t *exponent); /* shortest.zig */

INLINE char *put(char *to, const char *text, int32_t count)
{
    memcpy(to, text, (size_t)count);
    return to + count;
}

INLINE char *zeros(char *to, int32_t count)
{
    memset(to, '0', (size_t)count);
    return to + count;
}

/* Write the digits in front of `end`; return the first. */
INLINE char *digits_of(uint64_t number, char *end)
{
    do *--end = (char)('0' + number % 10);
    while (number /= 10);
    return end;
}

/* Write a finite number. */
static char *spell(char *to, double x)
{
    char room[DIGITS], *end = room + DIGITS;
    int32_t exponent;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (bits >> 63) *to++ = '-';
    bits = bits << 1 >> 1;
    if (!bits) return put(to, "0.0", 3);
    char *from = digits_of(millrace_shortest(bits, &exponent), end);
    int32_t point = (int32_t)(end - from) + exponent; /* how many digits stand before it */
    while (end - from > 1 && end[-1] == '0') end--;
    int32_t count = (int32_t)(end - from);
    if (point > MOST_POINT || point < LEAST_POINT) {
        *to++ = *from;
        if (count > 1) *to++ = '.', to = put(to, from + 1, count - 1);
        to = put(to, point > 0 ? "e+" : "e-", 2);
        uint32_t power = (uint32_t)(point > 0 ? point - 1 : 1 - point);
        if (power < 10) *to++ = '0';
        end = room + DIGITS;
        from = digits_of(power, end);
        return put(to, from, (int32_t)(end - from));
    }
    if (point <= 0) return put(zeros(put(to, "0.", 2), -point), from, count);
    if (point >= count) return put(zeros(put(to, from, count), point - count), ".0", 2);
    to = put(to, from, point);
    *to++ = '.';
    return put(to, from + point, count - point);
}

/* Write rows of `width` numbers with `between` between them and a line feed behind; a number that is not finite is
   `missing`. Each number takes 24 bytes at most. Where the rows end stands in `ends`, if that is not NULL. Return how
   many bytes there are. */
int64_t millrace_spell(const double *numbers, int64_t rows, int64_t width, const char *between, const char *missing,
                       char *to, int32_t *ends)
{
    int32_t gap = (int32_t)strlen(between), hole = (int32_t)strlen(missing);
    char *at = to;
    for (int64_t row = 0; row < rows; row++) {
        for (int64_t k = 0; k < width; k++, numbers++) {
            if (k) at = put(at, between, gap);
            at = *numbers - *numbers == 0.0 ? spell(at, *numbers) : put(at, missing, hole);
        }
        *at++ = '\n';
        if (ends) ends[row] = (int32_t)(at - to);
    }
    return at - to;
}
