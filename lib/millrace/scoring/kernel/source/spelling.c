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

static char *spell(char *to, double x)
{
    char room[DIGITS], *end = room + DIGITS;
    int32_t exponent;
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    if (x - x != 0.0) return put(to, "null", 4);
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

/* Write each number, or `null` where it is not finite, in at most 24 bytes. Where it ends stands in `ends`, or if that
   is NULL a line feed behind it. Return how many bytes there are. */
int64_t millrace_spell(const double *numbers, int64_t count, char *to, int32_t *ends)
{
    char *at = to;
    for (int64_t i = 0; i < count; i++) {
        at = spell(at, numbers[i]);
        if (ends) ends[i] = (int32_t)(at - to);
        else *at++ = '\n';
    }
    return at - to;
}
