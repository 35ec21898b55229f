/* fuzz_csv.c - any file where CSV is wanted.
 *
 * Beyond "no crash": the rows are the same in whatever pieces the file comes; a row that is written and
 * read again is the same; the data made of a row is JSON.
 *
 * The input is the file.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/csv_kind.h"
#include "agent/cli/csv_reader.h"
#include "tests/fuzz/pieces.h"

struct source {
    struct bytes rest;
    size_t piece_size;
};

static int read_source(void *context, struct bytes *ret_piece, struct error *err)
{
    struct source *source = context;
    size_t size =
        source->rest.size < source->piece_size ? source->rest.size : source->piece_size;

    (void)err;
    *ret_piece = bytes_of(source->rest.data, size);
    source->rest = bytes_of(source->rest.data + size, source->rest.size - size);
    return 0;
}

static void try_data(const struct csv_row *row)
{
    struct csv_mapping mapping;
    struct buf data = BUF_INIT, reason = BUF_INIT;
    struct error err = {0};
    struct codec_error fault;
    const struct csv_kind *kind = csv_kind_find("devices", &err);

    expect(kind != NULL);
    (void)csv_mapping_header(&mapping, kind, row, &err);
    error_clear(&err);
    if (csv_mapping_guess(&mapping, kind, row, &err) == 0) {
        int r = csv_row_data(&mapping, row, NULL, &data, &reason, &err);

        expect(r == 0 || r == 1);
        expect((r == 1) == (reason.size > 0));
        expect(r == 1 || codec_check_json(buf_bytes(&data), &fault) != CODEC_SYNTAX);
    }
    buf_release(&data);
    buf_release(&reason);
}

/* Appends line, fault and fields of each row. */
static void tell_rows(struct bytes file, size_t piece_size, bool whole, struct buf *out)
{
    struct source source = {file, piece_size};
    struct csv_reader *reader;
    struct csv_row row;
    uint64_t line = 0;

    expect(csv_reader_new(',', read_source, &source, &reader, NULL) == 0);
    while (csv_reader_next(reader, &row, NULL) == 0) {
        expect(row.line > line && row.last_line >= row.line);
        expect(row.fault == NULL ? row.count > 0 : row.count == 0);
        line = row.line;
        (void)buf_printf(out, "%u-%u %s", (unsigned)row.line, (unsigned)row.last_line,
                         row.fault != NULL ? row.fault : "");
        for (size_t i = 0; i < row.count; i++) {
            (void)buf_append_u64be(out, row.fields[i].size);
            (void)buf_append_bytes(out, row.fields[i]);
        }
        if (whole && row.fault == NULL)
            try_data(&row);
    }
    csv_reader_free(reader);
}

/* The sound rows as export would write them. */
static void write_rows(struct bytes file, struct buf *out)
{
    struct source source = {file, file.size};
    struct csv_reader *reader;
    struct csv_row row;

    expect(csv_reader_new(',', read_source, &source, &reader, NULL) == 0);
    while (csv_reader_next(reader, &row, NULL) == 0) {
        if (row.fault != NULL || (row.count == 1 && row.fields[0].size == 0))
            continue; /* an empty line is no row */
        for (size_t i = 0; i < row.count; i++) {
            (void)buf_append_str(out, i > 0 ? "," : "");
            csv_append(out, ',', row.fields[i]);
        }
        (void)buf_append_byte(out, '\n');
    }
    csv_reader_free(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT, once = BUF_INIT, twice = BUF_INIT;
    struct bytes file = bytes_of(data, size);

    tell_rows(file, size, /* whole= */ true, &whole);
    for (size_t piece_size = 1; piece_size < 16; piece_size += 6) {
        buf_clear(&pieces);
        tell_rows(file, piece_size, /* whole= */ false, &pieces);
        expect(bytes_equal(buf_bytes(&whole), buf_bytes(&pieces)));
    }
    write_rows(file, &once);
    write_rows(buf_bytes(&once), &twice);
    expect(bytes_equal(buf_bytes(&once), buf_bytes(&twice)));
    buf_release(&whole);
    buf_release(&pieces);
    buf_release(&once);
    buf_release(&twice);
    return 0;
}
