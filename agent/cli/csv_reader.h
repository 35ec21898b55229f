/* csv_reader.h - CSV (RFC 4180), row by row, from text that comes in pieces; and its
 * fields written.
 *
 * libcsv takes it apart, strictly: a quote within a field that is not quoted, or behind
 * the end of one that is, is a fault. Rows end with CRLF, LF or CR, blank lines are no
 * rows, and blanks around a field that is not quoted do not belong to it.
 *
 * A row with a fault is told like any other, with what is wrong in place of its fields.
 * Reading then goes on behind the end of the line in which the fault was seen. Memory is
 * bounded by the limits below, whatever the text holds.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_CSV_READER_H
#define AGENT_CLI_CSV_READER_H

#include "events/base/bytes.h"
#include "events/base/error.h"
#include "schemas/codec.h"

#define CSV_FIELD_BYTES_MAX JSON_BYTES_MAX /* no command holds more */
#define CSV_COLUMNS_MAX 1024               /* the longest list of a command has 1000 */

struct csv_row {
    uint64_t line, last_line; /* of the text, from 1 */
    const struct bytes *fields;
    size_t count;
    const char *fault; /* NULL = none; static text for people; there are no fields then */
};

/* Gives the next piece of the text, borrowed until the next call; an empty one at the
 * end. */
typedef int (*csv_read_fn)(void *context, struct bytes *ret_piece, struct error *err);

struct csv_reader;
int csv_reader_new(char delimiter, csv_read_fn read, void *context,
                   struct csv_reader **ret_reader, struct error *err);
void csv_reader_free(struct csv_reader *reader); /* NULL is fine */
/* 0 and a row, borrowed until the next call; 1 = no more; negative: read failed, or
 * memory is out. */
int csv_reader_next(struct csv_reader *reader, struct csv_row *ret_row,
                    struct error *err);

/* How many bytes of the last piece are not yet read. */
size_t csv_reader_left(const struct csv_reader *reader);

/* Appends a field, quoted where it must be. */
void csv_append(struct buf *out, char delimiter, struct bytes field);

#endif
