/* csv_reader.c - see csv_reader.h.
 *
 * libcsv calls back, and cannot be stopped at the end of a row. So it is fed no further
 * than to the next character that may end a line: at most one row is complete then, and
 * lines are counted on the way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/csv_reader.h"

#include <stdlib.h>
#include <string.h>

#include <csv.h>
#include <utf8proc.h>

#define GROW_BYTES 4096 /* of libcsv's buffer for one field */

struct csv_reader {
    csv_read_fn read;
    void *context;
    char delimiter;
    struct csv_parser parser;
    struct bytes piece; /* what is not yet fed of it */
    uint64_t line;      /* of the next byte */
    bool after_cr;      /* an LF now belongs to the line before */
    bool skipping;      /* to the end of the line, after a fault */
    bool at_end;
    /* the row under construction */
    bool row_begun, row_done;
    uint64_t row_line, last_line;
    const char *fault;
    struct buf text; /* of its fields, one after the other */
    size_t sizes[CSV_COLUMNS_MAX];
    size_t count;
    struct bytes fields[CSV_COLUMNS_MAX];
};

static const char too_large[] =
    "a field or the whole row is larger than 256 KiB; does a quote lack its other half?";

/* ---- libcsv ------------------------------------------------------------------------ */

static void *grow(void *memory, size_t size)
{
    return size <= CSV_FIELD_BYTES_MAX ? realloc(memory, size) : NULL;
}

static void on_field(void *text, size_t size, void *context)
{
    struct csv_reader *reader = context;

    if (reader->count == CSV_COLUMNS_MAX)
        reader->fault = "more than 1024 columns";
    else if (reader->text.size + size > CSV_FIELD_BYTES_MAX)
        reader->fault = too_large;
    if (reader->fault != NULL)
        return;
    (void)buf_append(&reader->text, text, size); /* a failure sticks; see finish_row() */
    reader->sizes[reader->count++] = size;
}

static void on_row(int character, void *context)
{
    struct csv_reader *reader = context;

    (void)character;
    reader->row_done = true;
}

static void begin_parser(struct csv_reader *reader)
{
    (void)csv_init(&reader->parser, CSV_STRICT | CSV_STRICT_FINI); /* cannot fail */
    csv_set_delim(&reader->parser, (unsigned char)reader->delimiter);
    csv_set_realloc_func(&reader->parser, grow);
    csv_set_blk_size(&reader->parser, GROW_BYTES);
}

/* ---- rows -------------------------------------------------------------------------- */

static const char *text_fault(struct bytes text)
{
    for (size_t i = 0; i < text.size;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t size =
            utf8proc_iterate(text.data + i, (utf8proc_ssize_t)(text.size - i), &point);

        if (size <= 0)
            return "not UTF-8; save the file as UTF-8, or as UTF-16 with its mark";
        if (point == 0)
            return "there is a NUL in it; a file in UTF-16 wants its byte order mark";
        i += (size_t)size;
    }
    return NULL;
}

/* libcsv gave up at a byte of the text: nothing more of this line belongs to a row. */
static void note_fault(struct csv_reader *reader)
{
    reader->fault = csv_error(&reader->parser) == CSV_EPARSE
                        ? "a quote where none may stand"
                        : too_large;
    reader->row_done = true;
    csv_free(&reader->parser);
    begin_parser(reader);
}

static int finish_row(struct csv_reader *reader, struct csv_row *ret_row,
                      struct error *err)
{
    size_t at = 0;

    if (reader->text.failed)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    for (size_t i = 0; i < reader->count && reader->fault == NULL; i++) {
        reader->fields[i] =
            bytes_of(buf_bytes(&reader->text).data + at, reader->sizes[i]);
        reader->fault = text_fault(reader->fields[i]);
        at += reader->sizes[i];
    }
    if (reader->fault != NULL)
        reader->count = 0;
    *ret_row = (struct csv_row){.line = reader->row_line,
                                .last_line = reader->last_line,
                                .fields = reader->fields,
                                .count = reader->count,
                                .fault = reader->fault};
    return 0;
}

static void begin_row(struct csv_reader *reader)
{
    reader->row_begun = reader->row_done = false;
    reader->fault = NULL;
    reader->count = 0;
    buf_clear(&reader->text);
}

/* ---- lines ------------------------------------------------------------------------- */

/* Takes what is left of the line, its end included, off the piece. */
static struct bytes next_span(struct csv_reader *reader)
{
    size_t size = 0;

    while (size < reader->piece.size && reader->piece.data[size] != '\n' &&
           reader->piece.data[size] != '\r')
        size++;
    size += size < reader->piece.size;
    struct bytes span = bytes_of(reader->piece.data, size);
    reader->piece = bytes_of(reader->piece.data + size, reader->piece.size - size);
    return span;
}

/* Counts; does the span end its line? */
static bool end_line(struct csv_reader *reader, struct bytes span)
{
    uint8_t last = span.data[span.size - 1];
    bool second_half = last == '\n' && reader->after_cr && span.size == 1;

    reader->after_cr = last == '\r';
    if (last != '\r' && last != '\n')
        return false;
    reader->line += !second_half;
    return true;
}

static bool is_blank(const struct csv_reader *reader, struct bytes span)
{
    for (size_t i = 0; i < span.size; i++) {
        uint8_t byte = span.data[i];

        if (byte == (uint8_t)reader->delimiter ||
            (byte != ' ' && byte != '\t' && byte != '\r' && byte != '\n'))
            return false;
    }
    return true;
}

static void feed(struct csv_reader *reader, struct bytes span)
{
    uint64_t line = reader->line;
    bool ended = end_line(reader, span);

    if (reader->skipping) {
        reader->skipping = !ended;
        return;
    }
    if (!reader->row_begun && !is_blank(reader, span)) {
        reader->row_begun = true;
        reader->row_line = line;
    }
    reader->last_line = line;
    if (csv_parse(&reader->parser, span.data, span.size, on_field, on_row, reader) !=
        span.size) {
        note_fault(reader);
        reader->skipping = !ended;
    }
}

static void feed_end(struct csv_reader *reader)
{
    reader->at_end = true;
    if (!reader->skipping && csv_fini(&reader->parser, on_field, on_row, reader) != 0)
        note_fault(reader);
}

/* ---- the interface ----------------------------------------------------------------- */

int csv_reader_new(char delimiter, csv_read_fn read, void *context,
                   struct csv_reader **ret_reader, struct error *err)
{
    struct csv_reader *reader = calloc(1, sizeof(*reader));

    if (reader == NULL)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    reader->read = read;
    reader->context = context;
    reader->delimiter = delimiter;
    reader->line = 1;
    begin_parser(reader);
    *ret_reader = reader;
    return 0;
}

void csv_reader_free(struct csv_reader *reader)
{
    if (reader == NULL)
        return;
    csv_free(&reader->parser);
    buf_release(&reader->text);
    free(reader);
}

int csv_reader_next(struct csv_reader *reader, struct csv_row *ret_row, struct error *err)
{
    begin_row(reader);
    while (!reader->row_done && !reader->at_end) {
        if (reader->piece.size > 0) {
            feed(reader, next_span(reader));
            continue;
        }
        int r = reader->read(reader->context, &reader->piece, err);
        if (r < 0)
            return r;
        if (reader->piece.size == 0)
            feed_end(reader);
    }
    return reader->row_done ? finish_row(reader, ret_row, err) : 1;
}

size_t csv_reader_left(const struct csv_reader *reader)
{
    return reader->piece.size;
}

void csv_append(struct buf *out, char delimiter, struct bytes field)
{
    bool quoted = false;

    for (size_t i = 0; i < field.size; i++)
        quoted = quoted || field.data[i] == '"' || field.data[i] == '\r' ||
                 field.data[i] == '\n' || field.data[i] == (uint8_t)delimiter;
    if (field.size > 0)
        quoted = quoted || strchr(" \t", field.data[0]) != NULL ||
                 strchr(" \t", field.data[field.size - 1]) != NULL;
    if (quoted)
        (void)buf_append_byte(out, '"');
    for (size_t i = 0; i < field.size; i++) {
        if (field.data[i] == '"')
            (void)buf_append_byte(out, '"');
        (void)buf_append_byte(out, field.data[i]);
    }
    if (quoted)
        (void)buf_append_byte(out, '"');
}
