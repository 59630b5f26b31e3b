/* Running the steps, and the steps on numbers. */

#include "kernel.h"

#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

int millrace_wide = 0;

int32_t millrace_abi(void) { return MILLRACE_ABI; }

/* Look at the processor; `allowed` 0 keeps to what every one has. Returns whether vectors are wide. */
int32_t millrace_start(int32_t allowed)
{
    millrace_wide = 0;
#if defined(__x86_64__)
    unsigned a, b, c, d;
    if (allowed && __get_cpuid(1, &a, &b, &c, &d) && (c & bit_OSXSAVE) && (c & bit_AVX)) {
        unsigned low, high;
        __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        if ((low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d)) millrace_wide = (b & bit_AVX2) != 0;
    }
#else
    (void)allowed;
#endif
    return millrace_wide;
}

/* Run the steps for `rows` rows, `tile` at a time, and write the last step's `width` columns row by row. */
void millrace_run(const struct step *steps, int64_t count, int64_t rows, int64_t tile, double *out,
                  const double *results, int64_t stride, int64_t width)
{
    for (int64_t first = 0; first < rows; first += tile) {
        int64_t n = rows - first < tile ? rows - first : tile;
        for (int64_t s = 0; s < count; s++) steps[s].run(&steps[s], first, n);
        double *to = out + first * width;
        for (int64_t k = 0; k < width; k++)
            for (int64_t r = 0; r < n; r++) to[r * width + k] = results[k * stride + r];
    }
}

/* What millrace_run takes, for one row. */
struct row {
    const struct step *steps;
    int64_t count;
    double *out;
    const double *results;
    int64_t stride, width;
};

void millrace_row(const struct row *row)
{
    for (int64_t s = 0; s < row->count; s++) row->steps[s].run(&row->steps[s], 0, 1);
    for (int64_t k = 0; k < row->width; k++) row->out[k] = row->results[k * row->stride];
}

/* p: the block's column. */
void step_load(const struct step *s, int64_t first, int64_t n)
{
    memcpy(s->out, s->p + first, (size_t)n * sizeof(double));
}

/* Write all inputs as columns. */
void step_dense(const struct step *s, int64_t first, int64_t n)
{
    double *out = s->out;
    for (int64_t c = 0; c < s->count; c++) {
        const struct column *in = &s->columns[c];
        if (in->kind == DENSE) {
            memcpy(out, in->data, (size_t)n * sizeof(double));
        } else if (in->kind == ONE_HOT) {
            for (int32_t k = 0; k < in->width; k++)
                for (int64_t r = 0; r < n; r++)
                    out[k * s->stride + r] = in->data[r] == (double)(in->first + k) ? 1.0 : 0.0;
        } else {
            for (int32_t k = 0; k < in->width; k++)
                memset(out + k * s->stride, 0, (size_t)n * sizeof(double));
            for (int64_t r = 0; r < n; r++)
                for (int64_t i = in->starts[first + r]; i < in->starts[first + r + 1]; i++) {
                    int32_t k = in->index[i] - in->first;
                    if (k >= 0 && k < in->width) out[k * s->stride + r] = in->values[i];
                }
        }
        out += in->width * s->stride;
    }
}

/* a: what replaces NaN. */
void step_fill(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) s->out[r] = in[r] != in[r] ? s->a : in[r];
}

/* 1 where NaN is. */
void step_missing(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) s->out[r] = in[r] != in[r] ? 1.0 : 0.0;
}

/* a is subtracted when i is 1, b divides when j is 1. */
void step_scale(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    double *out = s->out;
    (void)first;
    if (s->i)
        for (int64_t r = 0; r < n; r++) out[r] = in[r] - s->a;
    else
        memcpy(out, in, (size_t)n * sizeof(double));
    if (s->j)
        for (int64_t r = 0; r < n; r++) out[r] = out[r] / s->b;
}

/* p: i sorted numbers; q: what each becomes; a: what NaN becomes; b: what others become. */
void step_lookup(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data, *p = s->p;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double x = in[r];
        if (x != x) {
            s->out[r] = s->a;
            continue;
        }
        int64_t at = below(p, s->i, x, 0);
        s->out[r] = at < s->i && p[at] == x ? s->q[at] : s->b;
    }
}

/* i: days, year, month, day, weekday, day of the year, hour, minute, second, from 0. The algorithm is
   civil_from_days of H. Hinnant, "chrono-Compatible Low-Level Date Algorithms". */
void step_time(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double seconds = in[r], value = 0.0;
        /* The years 1 to 9999; a missing value is outside them. */
        if (!(seconds >= -62135596800.0 && seconds < 253402300800.0)) {
            s->out[r] = NAN;
            continue;
        }
        int64_t whole = (int64_t)floor(seconds);
        int64_t days = whole / 86400 - (whole % 86400 < 0), clock = whole - days * 86400;
        int64_t shifted = days + 719468, era = shifted / 146097 - (shifted % 146097 < 0);
        int64_t of_era = shifted - era * 146097;
        int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
        int64_t from_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        int64_t march_month = (5 * from_march + 2) / 153;
        int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
        int64_t year = year_of_era + era * 400 + (month <= 2);
        int64_t leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        switch (s->i) {
        case 0: value = seconds / 86400.0; break;
        case 1: value = (double)year; break;
        case 2: value = (double)month; break;
        case 3: value = (double)(from_march - (153 * march_month + 2) / 5 + 1); break;
        case 4: value = (double)(((days + 3) % 7 + 7) % 7); break;
        case 5: value = (double)(month <= 2 ? from_march - 305 : from_march + 60 + leap); break;
        case 6: value = (double)(clock / 3600); break;
        case 7: value = (double)(clock / 60 % 60); break;
        default: value = (double)(clock % 60); break;
        }
        s->out[r] = value;
    }
}

/* a multiplies, b is added. */
void step_affine(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double product = in[r] * s->a;
        s->out[r] = product + s->b;
    }
}

/* a is the least, b the greatest; NaN stays. */
void step_clip(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) s->out[r] = in[r] < s->a ? s->a : in[r] > s->b ? s->b : in[r];
}

/* p: i edges, ascending. How many are at most the input; all for NaN, which is less than none. */
void step_bins(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) s->out[r] = (double)below(s->p, s->i, in[r], 1);
}

/* Dense inputs, j of each member; p: the members' weights, or NULL; a: what the sums are divided by. */
void step_mean(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t k = 0; k < s->j; k++) {
        double *out = s->out + k * s->stride;
        for (int64_t r = 0; r < n; r++) out[r] = 0.0;
        for (int64_t c = k; c < s->count; c += s->j) {
            const double *in = s->columns[c].data;
            double weight = s->p ? s->p[c / s->j] : 1.0;
            for (int64_t r = 0; r < n; r++) {
                double product = in[r] * weight;
                out[r] += product;
            }
        }
        for (int64_t r = 0; r < n; r++) out[r] /= s->a;
    }
}
