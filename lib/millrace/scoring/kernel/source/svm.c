/* Kernel machines. Their sums are plain, as those of the library that trains them. */

#include "kernel.h"

#include <math.h>

/* As in mlp.c. */
enum { ROWS = 8, UNITS = 4 };

enum { RBF, POLY, SIGMOID };

/* Of the rows from `from` on: squared distances from `units` vectors, or products with them. */
INLINE void compared(const struct step *s, int kernel, const double *vector, int64_t from, int units,
                     double total[UNITS][ROWS])
{
    double sum[UNITS][ROWS] = {{0.0}};
    for (int64_t c = 0; c < s->count; c++) {
        const double *x = s->columns[c].data + from;
        for (int u = 0; u < units; u++) {
            double v = vector[u * s->count + c];
            for (int r = 0; r < ROWS; r++)
                sum[u][r] += kernel == RBF ? (x[r] - v) * (x[r] - v) : x[r] * v;
        }
    }
    for (int u = 0; u < units; u++)
        for (int r = 0; r < ROWS; r++) total[u][r] = sum[u][r];
}

INLINE double value_of(const struct step *s, int kernel, double sum)
{
    if (kernel == RBF) return exp(-s->a * sum);
    double base = s->a * sum + s->b;
    if (kernel == SIGMOID) return tanh(base);
    double result = 1.0;
    for (int64_t times = *(const int64_t *)s->table; times; times /= 2) {
        if (times % 2) result *= base;
        base *= base;
    }
    return result;
}

INLINE void some(const struct step *s, int kernel, int64_t n, int64_t vector, int units)
{
    const double *coef = s->q + s->j;
    for (int64_t from = 0; from < n; from += ROWS) {
        int64_t rows = n - from < ROWS ? n - from : ROWS;
        double total[UNITS][ROWS];
        compared(s, kernel, s->p + vector * s->count, from, units, total);
        for (int u = 0; u < units; u++) {
            for (int64_t r = 0; r < rows; r++) total[u][r] = value_of(s, kernel, total[u][r]);
            for (int64_t k = 0; k < s->j; k++) {
                double weight = coef[k * s->i + vector + u], *out = s->out + k * s->stride + from;
                for (int64_t r = 0; r < rows; r++) out[r] += total[u][r] * weight;
            }
        }
    }
}

INLINE void machine(const struct step *s, int kernel, int64_t n)
{
    int64_t vector = 0;
    for (int64_t k = 0; k < s->j; k++)
        for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] = 0.0;
    for (; vector + UNITS <= s->i; vector += UNITS) some(s, kernel, n, vector, UNITS);
    for (; vector < s->i; vector++) some(s, kernel, n, vector, 1);
    for (int64_t k = 0; k < s->j; k++)
        for (int64_t r = 0; r < n; r++) s->out[k * s->stride + r] += s->q[k];
}

INLINE void rbf_body(const struct step *s, int64_t n) { machine(s, RBF, n); }
INLINE void poly_body(const struct step *s, int64_t n) { machine(s, POLY, n); }
INLINE void sigmoid_body(const struct step *s, int64_t n) { machine(s, SIGMOID, n); }

WIDE(rbf, (const struct step *s, int64_t n), (s, n))
WIDE(poly, (const struct step *s, int64_t n), (s, n))
WIDE(sigmoid, (const struct step *s, int64_t n), (s, n))

/* Dense inputs. p: i vectors; q: j intercepts, then j x i coefficients; a: gamma; b: coef0; table: the degree. */
void step_rbf(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    rbf(s, n);
}

/* As step_rbf. */
void step_poly(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    poly(s, n);
}

/* As step_rbf. */
void step_sigmoid(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    sigmoid(s, n);
}

/* Dense inputs, decisions between each two of i classes; i outputs. */
void step_votes(const struct step *s, int64_t first, int64_t n)
{
    (void)first;
    for (int64_t r = 0; r < n; r++)
        for (int64_t k = 0; k < s->i; k++) {
            double votes = 0.0, sum = 0.0;
            const struct column *in = s->columns;
            for (int64_t i = 0; i < s->i; i++)
                for (int64_t j = i + 1; j < s->i; j++, in++) {
                    double decision = in->data[r];
                    if (i == k) sum += decision, votes += decision < 0.0 ? 0.0 : 1.0;
                    else if (j == k) sum -= decision, votes += decision < 0.0 ? 1.0 : 0.0;
                }
            s->out[k * s->stride + r] = votes + sum / (3.0 * (fabs(sum) + 1.0));
        }
}
