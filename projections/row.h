/* row.h - rows of the views: reading and writing them through the batch, and their
 * encoding.
 *
 * Every write goes row_open() -> row_set(): the old row is read once, shown to the
 * caller, and taken out of the digest as the new one is put in. A row that cannot be
 * there yet is opened with row_open_new(). A row is a function of the events alone.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef PROJECTIONS_ROW_H
#define PROJECTIONS_ROW_H

#include "projections/views.h"

/* Reads a row into value (cleared first). 0, 1 = no such row, or negative. */
int row_get(struct views *views, enum view view, struct bytes key, struct buf *value,
            struct error *err);

/* Makes key the open row and shows its present content, absent if there is none (borrowed
 * until the next row_open). key is copied. */
int row_open(struct views *views, enum view view, struct bytes key, struct bytes *ret_old,
             struct error *err);
/* The same for a row of which the caller knows that there is none: nothing is read. */
int row_open_new(struct views *views, enum view view, struct bytes key,
                 struct error *err);
/* Writes the open row; absent deletes it. Nothing is written if nothing changes. */
int row_set(struct views *views, struct bytes row, struct error *err);

/* Text in a row: varint(length + 1) and the bytes, 0 = absent. */
void row_put_text(struct buf *row, struct bytes text);
void row_put_count(struct buf *row, size_t count); /* as varint */

/* Takes a row apart. Past the end everything reads as 0 or absent and failed is set. */
struct row_reader {
    struct bytes rest;
    bool failed;
};

struct row_reader row_reader_of(struct bytes row);
uint8_t row_take_u8(struct row_reader *reader);
uint32_t row_take_u32(struct row_reader *reader);
uint64_t row_take_u64(struct row_reader *reader);
size_t row_take_count(struct row_reader *reader);
struct bytes row_take_text(struct row_reader *reader); /* borrowed from the row */
/* Was the row read to its end, and never beyond it? */
bool row_reader_done(const struct row_reader *reader);

#endif
