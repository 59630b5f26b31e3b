/* What bends, cuts and combines numbers: scoring/rows/shapes.py says what each is. */

#include "kernel.h"

#include <math.h>

#define EPSILON 0x1p-52

static double yeo_johnson(double x, double power)
{
    if (x >= 0.0) return fabs(power) < EPSILON ? log1p(x) : expm1(power * log1p(x)) / power;
    if (fabs(power - 2.0) > EPSILON) return -expm1((2.0 - power) * log1p(-x)) / (2.0 - power);
    return -log1p(-x);
}

static double box_cox(double x, double power)
{
    return fabs(power) < 1e-19 ? log(x) : expm1(power * log(x)) / power;
}

/* a: the power; i: 1 for Box and Cox's transformation, else it is Yeo and Johnson's. */
void step_power(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) s->out[r] = s->i ? box_cox(in[r], s->a) : yeo_johnson(in[r], s->a);
}

/* Ratio of two polynomials of degree 7, the highest power first. */
static double polynomials(const double *coefficients, double x)
{
    double upper = 0.0, lower = 0.0;
    for (int k = 0; k < 8; k++) {
        double one = upper * x, other = lower * x;
        upper = one + coefficients[k];
        lower = other + coefficients[8 + k];
    }
    return upper / lower;
}

/* table: coefficients for the centre, the middle and the tail (algorithm AS 241). */
static double normal_quantile(const double *table, double p)
{
    if (p <= 0.0) return -INFINITY;
    if (p >= 1.0) return INFINITY;
    double q = p - 0.5;
    if (fabs(q) <= 0.425) {
        double square = q * q;
        return q * polynomials(table, 0.180625 - square);
    }
    double r = sqrt(-log(q < 0.0 ? p : 1.0 - p));
    double size = r <= 5.0 ? polynomials(table + 16, r - 1.6) : polynomials(table + 32, r - 5.0);
    return q < 0.0 ? -size : size;
}

static double place(const double *points, const double *values, int64_t count, double x, double bound)
{
    if (x != x) return x;
    if (x <= points[0] || x - bound < points[0]) return 0.0;
    if (x >= points[count - 1] || x + bound > points[count - 1]) return 1.0;
    /* Of equal points the mean of the first and the last one's values counts. */
    int64_t above = below(points, count, x, 1), first = below(points, count, x, 0);
    if (above != first) return 0.5 * (values[above - 1] + values[first]);
    double left = points[above - 1], right = points[above];
    double slope = (values[above] - values[above - 1]) / (right - left);
    double up = slope * (x - left), down = slope * (x - right);
    return 0.5 * ((up + values[above - 1]) + (down + values[above]));
}

/* p: i points, ascending; q: their values; a: how near to the ends counts as there; table: NULL, or the
   coefficients of the normal quantile that is taken of the result. */
void step_interpolate(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double found = place(s->p, s->q, s->i, in[r], s->a);
        s->out[r] = s->table ? normal_quantile(s->table, found) : found;
    }
}

/* p: i points, ascending; q: their values. Lines between them, and level outside. */
void step_isotonic(const struct step *s, int64_t first, int64_t n)
{
    const double *in = s->columns->data, *x = s->p, *y = s->q;
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        int64_t at = below(x, s->i, in[r], 1) - 1;
        if (in[r] != in[r] && s->i > 1) {
            s->out[r] = in[r];
        } else if (at < 0) {
            s->out[r] = y[0];
        } else if (at >= s->i - 1) {
            s->out[r] = y[s->i - 1];
        } else if (x[at] == in[r]) {
            s->out[r] = y[at];
        } else {
            double slope = (y[at + 1] - y[at]) / (x[at + 1] - x[at]), up = slope * (in[r] - x[at]);
            s->out[r] = up + y[at];
        }
    }
}

INLINE double sign(double x) { return x != x ? x : (double)((x > 0.0) - (x < 0.0)); }

/* The order is that of FUNCTIONS in plan.kinds. */
INLINE double value_of(int64_t function, double x)
{
    switch (function) {
    case 0: return fabs(x);
    case 1: return sign(x);
    case 2: return -x;
    case 3: return 1.0 / x;
    case 4: return x * x;
    case 5: return sqrt(x);
    case 6: return cbrt(x);
    case 7: return floor(x);
    case 8: return ceil(x);
    case 9: return rint(x);
    case 10: return exp(x);
    case 11: return expm1(x);
    case 12: return log(x);
    case 13: return log2(x);
    case 14: return log10(x);
    default: return log1p(x);
    }
}

/* Dense inputs, as many outputs. i: the function's number. */
void step_apply(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t k = 0; k < s->count; k++)
        for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] = value_of(s->i, s->columns[k].data[r]);
}

enum { L1, L2, MAX };

/* Dense inputs, as many outputs. i: the norm; a: the smallest that divides. */
void step_norm(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t r = 0; r < n; r++) {
        double total = 0.0, rest = 0.0, most = 0.0;
        for (int64_t c = 0; c < s->count; c++) {
            double x = s->columns[c].data[r], size = s->i == L2 ? x * x : fabs(x);
            compensated(&total, &rest, size);
            if (size > most) most = size;
        }
        double norm = compensated_end(total, rest);
        if (s->i == L2) norm = sqrt(norm);
        else if (s->i == MAX && norm == norm) norm = most;
        for (int64_t c = 0; c < s->count; c++) {
            double x = s->columns[c].data[r];
            s->out[c * s->stride + r] = norm < s->a ? x : x / norm;
        }
    }
}

/* Dense inputs. table: int32, for each of j outputs how many inputs are multiplied, and which. */
void step_products(const struct step *s, int64_t first, int64_t n)
{
    const int32_t *term = s->table;
    (void)first;
    for (int64_t k = 0; k < s->j; k++) {
        double *out = s->out + k * s->stride;
        for (int64_t r = 0; r < n; r++) out[r] = 1.0;
        for (int32_t left = *term++; left; left--) {
            const double *in = s->columns[*term++].data;
            for (int64_t r = 0; r < n; r++) out[r] *= in[r];
        }
    }
}
