/* Layers of neural networks. Their sums are plain, as those of the libraries that train them: compensated ones
   take several times the operations. */

#include "kernel.h"

#include <math.h>

/* Sums of so many rows and outputs stay in the processor's registers. A tile has a multiple of ROWS; what is
   behind its last row is computed and not read. */
enum { ROWS = 8, UNITS = 4 };

/* Weights of one input for so many outputs, which lie side by side, are added at once. */
enum { BESIDE = 16 };

/* `ACTIVATIONS` of mlp.py; 0 is the identity. */
enum { LOGISTIC = 1, TANH = 2, RELU = 3 };

/* Add `count` dense columns to `units` outputs. */
INLINE void add_dense(const struct column *in, int64_t count, const double *w, int64_t width, double *out,
                      int64_t stride, int64_t n, int units)
{
    for (int64_t from = 0; from < n; from += ROWS) {
        double sum[UNITS][ROWS];
        for (int u = 0; u < units; u++)
            for (int r = 0; r < ROWS; r++) sum[u][r] = out[u * stride + from + r];
        for (int64_t c = 0; c < count; c++) {
            const double *x = in[c].data + from;
            for (int u = 0; u < units; u++) {
                double weight = w[u * width + c];
                for (int r = 0; r < ROWS; r++) sum[u][r] += x[r] * weight;
            }
        }
        for (int u = 0; u < units; u++)
            for (int r = 0; r < ROWS; r++) out[u * stride + from + r] = sum[u][r];
    }
}

/* Add `count` columns of codes to `units` outputs: a code picks a weight for each. */
INLINE void add_codes(const struct column *in, int64_t count, const double *by_input, int64_t outputs,
                      double *out, int64_t stride, int64_t n, int units)
{
    for (int64_t r = 0; r < n; r++) {
        double sum[BESIDE] = {0.0};
        const double *w = by_input;
        for (int64_t c = 0; c < count; c++) {
            int64_t k = (int64_t)in[c].data[r] - in[c].first;
            if (k >= 0 && k < in[c].width)
                for (int u = 0; u < units; u++) sum[u] += w[k * outputs + u];
            w += in[c].width * outputs;
        }
        for (int u = 0; u < units; u++) out[u * stride + r] += sum[u];
    }
}

/* Add a sparse column to all outputs. */
INLINE void add_sparse(const struct column *in, const double *by_input, int64_t outputs, double *out,
                       int64_t stride, int64_t first, int64_t n)
{
    for (int64_t r = 0; r < n; r++)
        for (int64_t i = in->starts[first + r]; i < in->starts[first + r + 1]; i++) {
            int32_t k = in->index[i] - in->first;
            if (k < 0 || k >= in->width) continue;
            const double *w = by_input + k * outputs;
            for (int64_t u = 0; u < outputs; u++) out[u * stride + r] += w[u] * in->values[i];
        }
}

INLINE void layer_body(const struct step *s, int64_t first, int64_t n)
{
    int64_t width = 0, done = 0, outputs = s->j, stride = s->stride, u;
    for (int64_t c = 0; c < s->count; c++) width += s->columns[c].width;
    for (u = 0; u < outputs; u++)
        for (int64_t r = 0; r < n + ROWS - 1 - (n - 1) % ROWS; r++) s->out[u * stride + r] = s->q[u];
    for (int64_t c = 0, run; c < s->count; c += run) {
        const struct column *in = &s->columns[c];
        for (run = 1; in->kind != SPARSE && c + run < s->count && in[run].kind == in->kind;) run++;
        if (in->kind == DENSE) {
            const double *w = s->p + done;
            for (u = 0; u + UNITS <= outputs; u += UNITS)
                add_dense(in, run, w + u * width, width, s->out + u * stride, stride, n, UNITS);
            for (; u < outputs; u++)
                add_dense(in, run, w + u * width, width, s->out + u * stride, stride, n, 1);
        } else if (in->kind == ONE_HOT) {
            const double *by_input = (const double *)s->table + done * outputs;
            for (u = 0; u + BESIDE <= outputs; u += BESIDE)
                add_codes(in, run, by_input + u, outputs, s->out + u * stride, stride, n, BESIDE);
            for (; u < outputs; u++)
                add_codes(in, run, by_input + u, outputs, s->out + u * stride, stride, n, 1);
        } else {
            add_sparse(in, (const double *)s->table + done * outputs, outputs, s->out, stride, first, n);
        }
        for (int64_t i = 0; i < run; i++) done += in[i].width;
    }
}

WIDE(layer, (const struct step *s, int64_t first, int64_t n), (s, first, n))

/* p: weights, j outputs x inputs; table: the same, inputs x outputs, where a column is not dense; q: intercepts;
   i: the activation's number. */
void step_layer(const struct step *s, int64_t first, int64_t n)
{
    layer(s, first, n);
    for (int64_t output = 0; output < s->j; output++) {
        double *out = s->out + output * s->stride;
        if (s->i == RELU) {
            for (int64_t r = 0; r < n; r++) out[r] = out[r] < 0.0 ? 0.0 : out[r];
        } else if (s->i == TANH) {
            for (int64_t r = 0; r < n; r++) out[r] = tanh(out[r]);
        } else if (s->i == LOGISTIC) {
            for (int64_t r = 0; r < n; r++) out[r] = expit(out[r]);
        }
    }
}
