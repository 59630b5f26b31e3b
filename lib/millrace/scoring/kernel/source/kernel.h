/* The kernel: steps over columns of a tile of rows.

   A plan becomes a list of steps, made once in Python. A block of rows runs through it tile by tile; within
   a tile, a column is an array of one double a row, so each step is a plain loop over rows that the compiler
   turns into vectors, and additions keep the order that they have for a single row.

   Steps trust their indices: they are made from checked plans alone. */

#ifndef MILLRACE_KERNEL_H
#define MILLRACE_KERNEL_H

#include <math.h>
#include <stdint.h>

#define MILLRACE_ABI 9

#if defined(__GNUC__) || defined(__clang__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

/* Return all bits where the condition holds, else none. Opaque: a compiler that sees a choice may make a branch
   of it, and the processor cannot guess this one. */
INLINE int32_t all_bits(int condition)
{
    int32_t bits = -condition;
#if defined(__GNUC__) || defined(__clang__)
    __asm__("" : "+r"(bits));
#endif
    return bits;
}

/* Loops that gain from wider vectors are compiled twice on x86-64: NAME_body is written once, and NAME runs
   the variant that the processor has. */
#if defined(__x86_64__)
#define WIDE(name, parameters, arguments)                                                                 \
    __attribute__((target("avx2"))) static void name##_wide parameters { name##_body arguments; }         \
    static void name##_plain parameters { name##_body arguments; }                                        \
    static void name parameters                                                                            \
    {                                                                                                      \
        if (millrace_wide) name##_wide arguments;                                                          \
        else name##_plain arguments;                                                                       \
    }
#else
#define WIDE(name, parameters, arguments)                                                                 \
    static void name parameters { name##_body arguments; }
#endif

extern int millrace_wide;

/* An integer of an array of the plan's, by its code in Python's `array`. */
INLINE int64_t whole(const void *from, char code, int64_t i)
{
    if (code == 'B') return ((const uint8_t *)from)[i];
    if (code == 'H') return ((const uint16_t *)from)[i];
    return ((const int32_t *)from)[i];
}

INLINE double expit(double x)
{
    double power = exp(x >= 0.0 ? -x : x);
    return x >= 0.0 ? 1.0 / (1.0 + power) : power / (1.0 + power);
}

/* How many of the ascending numbers are less than x, or with `equal` at most x. */
INLINE int64_t below(const double *numbers, int64_t count, double x, int equal)
{
    int64_t low = 0, high = count;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (equal ? !(x < numbers[middle]) : numbers[middle] < x) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* Neumaier's compensated sum, as Python's sum() has added floats since 3.12: the row path's sums. */
INLINE void compensated(double *total, double *rest, double x)
{
    double sum = *total + x;
    *rest += fabs(*total) >= fabs(x) ? (*total - sum) + x : (x - sum) + *total;
    *total = sum;
}

INLINE double compensated_end(double total, double rest)
{
    return rest - rest == 0.0 ? total + rest : total;
}

enum { DENSE = 0, ONE_HOT = 1, SPARSE = 2 };

/* One or more inputs of a step.
   DENSE: one, data[row].
   ONE_HOT: width of them, 1 where data[row] - first is their number, else 0.
   SPARSE: width of them, 0 but for index[i] - first = number, values[i], for i from starts[row] to
   starts[row + 1]; rows are counted from the block's first, and the indices of a row rise. */
struct column {
    int32_t kind, first, width, reserved;
    const double *data;
    const int64_t *starts;
    const int32_t *index;
    const double *values;
};

struct step;
typedef void step_function(const struct step *, int64_t first_row, int64_t rows);

/* What the members mean is said at each step's function. `out` is the first of the columns that the step
   writes, and the next is `stride` doubles behind it. */
struct step {
    step_function *run;
    const struct column *columns;
    int64_t count;
    double *out;
    int64_t stride;
    const void *table;
    const double *p, *q;
    int64_t i, j;
    double a, b;
};

#endif
