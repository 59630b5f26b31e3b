/* Trees for one row: the walk of scoring/rows/trees.py. */

#include "kernel.h"

/* Add the leaves that a row comes to, in the order of the trees. `row` holds it thrice, as that module makes it;
   `first_set` is twice its width. With `values` a leaf is the number of a row of them, added to all outputs,
   else it is added to output tree % outputs. */
void millrace_row_trees(const int32_t *feature, const int32_t *skip, const double *number, const int32_t *roots,
                        int64_t trees, const double *row, int32_t first_set, const uint8_t *masks,
                        const double *values, int32_t outputs, double *out)
{
    int32_t turn = 0;
    for (int64_t k = 0; k < trees; k++) {
        int64_t node = roots[k];
        for (int32_t step; (step = skip[node]) != 0;) {
            int32_t chosen = feature[node];
            int left;
            if (chosen < first_set) {
                left = row[chosen] <= number[node];
            } else {
                int32_t code = (int32_t)row[chosen];
                left = masks[32 * (int64_t)number[node] + code / 8] >> (code % 8) & 1;
            }
            node += left ? 1 : step;
        }
        if (values) {
            const double *leaf = values + (int64_t)number[node] * outputs;
            for (int32_t j = 0; j < outputs; j++) out[j] += leaf[j];
        } else {
            out[turn] += number[node];
            if (++turn == outputs) turn = 0;
        }
    }
}
