/* test_csv.c - CSV taken apart and put together, what columns a file has, the window of
 * rows on their way.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE /* strsep */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/cli/csv_kind.h"
#include "agent/cli/csv_reader.h"
#include "agent/cli/import_rows.h"

/* ---- reading ----------------------------------------------------------------------- */

/* A text that comes in pieces of this size. */
struct text {
    struct bytes rest;
    size_t piece_size;
};

static int read_text(void *context, struct bytes *ret_piece, struct error *err)
{
    struct text *text = context;
    size_t size = text->rest.size < text->piece_size ? text->rest.size : text->piece_size;

    (void)err;
    *ret_piece = bytes_of(text->rest.data, size);
    text->rest = bytes_of(text->rest.data + size, text->rest.size - size);
    return 0;
}

/* "1:a|b 2-3:!fault" for the rows of a text: line, fields or fault. */
static void tell_rows(struct bytes csv, size_t piece_size, struct buf *out)
{
    struct text text = {csv, piece_size};
    struct csv_reader *reader;
    struct csv_row row;
    int r;

    buf_clear(out);
    assert_int_equal(csv_reader_new(',', read_text, &text, &reader, NULL), 0);
    while ((r = csv_reader_next(reader, &row, NULL)) == 0) {
        if (out->size > 0)
            (void)buf_append_byte(out, ' ');
        (void)buf_printf(out, "%u", (unsigned)row.line);
        if (row.last_line != row.line)
            (void)buf_printf(out, "-%u", (unsigned)row.last_line);
        (void)buf_append_byte(out, ':');
        if (row.fault != NULL)
            (void)buf_printf(out, "!%.14s", row.fault);
        for (size_t i = 0; i < row.count; i++) {
            (void)buf_append_str(out, i > 0 ? "|" : "");
            (void)buf_append_bytes(out, row.fields[i]);
        }
    }
    assert_int_equal(r, 1);
    assert_int_equal(csv_reader_next(reader, &row, NULL), 1);
    csv_reader_free(reader);
}

#define QUOTE "!a quote where "

/* Whatever the pieces in which a text comes, its rows are the same. */
static void test_rows(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *rows;
    } cases[] = {
        {"", ""},
        {"\n\r\n \t\n", ""},
        {"a,b", "1:a|b"},
        {"a,b\nc,d\n", "1:a|b 2:c|d"},
        {"a,b\r\nc,d\r\n", "1:a|b 2:c|d"},
        {"a,b\rc,d\r", "1:a|b 2:c|d"},
        {"a\n\n\r\n\rb", "1:a 5:b"},
        {" a b , \tc\n", "1:a b|c"},
        {"\" a\",b", "1: a|b"},
        {"a,\nb,", "1:a| 2:b|"},
        {",", "1:|"},
        {"\"\"", "1:"},
        {"\"a\"\"b\",\"c,d\"\n", "1:a\"b|c,d"},
        {"\"a\nb\",c\nd", "1-2:a\nb|c 3:d"},
        {"\"a\r\nb\",c\r\nd", "1-2:a\r\nb|c 3:d"},
        {"\"a\rb\",c\rd", "1-2:a\rb|c 3:d"},
        /* faults: the rest of the line is passed over */
        {"a\"b,c\nd,e\n", "1:" QUOTE " 2:d|e"},
        {"a\"b,\"c\nd,e\n", "1:" QUOTE " 2:d|e"},
        {"\"a\"b,c\r\nd", "1:" QUOTE " 2:d"},
        {"\"a,b\nc,\"d\"\ne,f", "1-2:" QUOTE " 3:e|f"},
        {"a,\"b", "1:" QUOTE},
        {"a,\"b\n\n", "1-2:" QUOTE},
        {"a\xff,b\nc", "1:!not UTF-8; sav 2:c"},
        {"\xed\xa0\x80\nc", "1:!not UTF-8; sav 2:c"},
        {"\xc3,\xa4\nc", "1:!not UTF-8; sav 2:c"}, /* each field by itself */
        {"\xc3\xa4,\xf0\x9f\x98\x80", "1:\xc3\xa4|\xf0\x9f\x98\x80"},
    };
    struct buf rows = BUF_INIT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t piece_size = 1; piece_size < 8; piece_size++) {
            tell_rows(bytes_str(cases[i].csv), piece_size, &rows);
            if (strcmp(buf_cstr(&rows), cases[i].rows) != 0)
                fail_msg("case %zu in pieces of %zu: %s, not %s", i, piece_size,
                         buf_cstr(&rows), cases[i].rows);
        }
    }
    buf_release(&rows);
}

static void test_nul(void **state)
{
    (void)state;
    struct buf rows = BUF_INIT;

    tell_rows(bytes_of("a\0b,c\nd\n", 8), 3, &rows);
    assert_string_equal(buf_cstr(&rows), "1:!there is a NUL 2:d");
    buf_release(&rows);
}

/* A field has a limit, a row has it, and a quote without its other half ends there. */
static void test_limits(void **state)
{
    (void)state;
    struct buf csv = BUF_INIT, rows = BUF_INIT;

    for (int i = 0; i < 1024 * 1024; i++)
        (void)buf_append_byte(&csv, 'x');
    (void)buf_append_str(&csv, ",b\nc,d\n");
    tell_rows(buf_bytes(&csv), 65536, &rows);
    assert_string_equal(buf_cstr(&rows), "1:!a field or the 2:c|d");

    buf_clear(&csv);
    for (size_t i = 0; i < CSV_FIELD_BYTES_MAX / 4; i++)
        (void)buf_append_str(&csv, "xxx,");
    (void)buf_append_str(&csv, "\nc\n");
    tell_rows(buf_bytes(&csv), 65536, &rows);
    assert_string_equal(buf_cstr(&rows), "1:!more than 1024 2:c");

    buf_clear(&csv);
    for (size_t i = 0; i < 4 * CSV_FIELD_BYTES_MAX / 3; i++) /* in four fields */
        (void)buf_append_str(&csv, i % (CSV_FIELD_BYTES_MAX / 3) == 0 ? "," : "x");
    (void)buf_append_str(&csv, "\nc\n");
    tell_rows(buf_bytes(&csv), 65536, &rows);
    assert_string_equal(buf_cstr(&rows), "1:!a field or the 2:c");

    buf_clear(&csv);
    (void)buf_append_byte(&csv, '"');
    for (int i = 0; i < 100000; i++)
        (void)buf_append_str(&csv, "a,b\n");
    tell_rows(buf_bytes(&csv), 65536, &rows);
    /* 65536 times "a,b\n" fills it; what follows the next line are rows again. */
    static const char begin[] = "1-65537:!a field or the 65538:a|b 65539:a|b ";
    assert_memory_equal(buf_cstr(&rows), begin, sizeof(begin) - 1);
    buf_release(&csv);
    buf_release(&rows);
}

/* What is written reads as it was. */
static void test_append(void **state)
{
    (void)state;
    static const char *const fields[] = {
        "",    "a",        "a b",    " a",     "a ",  "\ta", "a,b",
        "a;b", "\"",       "a\"\"b", "a\r\nb", "\nb", "a\r", "domain\\ann, x",
        ",",   "\xc3\xa4",
    };
    struct buf csv = BUF_INIT;
    struct csv_reader *reader;
    struct csv_row row;
    size_t count = sizeof(fields) / sizeof(fields[0]);

    for (size_t i = 0; i < count; i++) {
        (void)buf_append_str(&csv, i > 0 ? "," : "");
        csv_append(&csv, ',', bytes_str(fields[i]));
    }
    struct text text = {buf_bytes(&csv), 5};
    assert_int_equal(csv_reader_new(',', read_text, &text, &reader, NULL), 0);
    assert_int_equal(csv_reader_next(reader, &row, NULL), 0);
    assert_int_equal(row.count, count);
    for (size_t i = 0; i < count; i++)
        assert_true(bytes_equal_str(row.fields[i], fields[i]));
    csv_reader_free(reader);

    buf_clear(&csv);
    csv_append(&csv, ',', bytes_str("contoso\\ann"));
    assert_string_equal(buf_cstr(&csv), "contoso\\ann"); /* not quoted without need */
    buf_release(&csv);
}

/* ---- columns ----------------------------------------------------------------------- */

static const struct csv_kind *kind_of(const char *name)
{
    struct error err = {0};
    const struct csv_kind *kind = csv_kind_find(name, &err);

    assert_non_null(kind);
    return kind;
}

/* The row of one line of CSV without quotes; its fields live in the line. */
static struct csv_row row_of(char *line, struct bytes fields[8])
{
    struct csv_row row = {.line = 1, .last_line = 1, .fields = fields};

    for (char *rest = line, *word; (word = strsep(&rest, ",")) != NULL;)
        fields[row.count++] = bytes_str(word);
    return row;
}

static void expect_columns(const struct csv_mapping *mapping, const char *wanted)
{
    struct buf names = BUF_INIT;

    csv_mapping_append(&names, mapping);
    assert_string_equal(buf_cstr(&names), wanted);
    buf_release(&names);
}

static void test_columns(void **state)
{
    (void)state;
    static const struct {
        const char *names, *error; /* NULL = fine */
    } cases[] = {
        {"users,IGNORED,Devices,ignored", NULL},
        {"Users", "--columns: the column Devices is missing"},
        {"Users,Devices,Users", "--columns: the column Users is named twice"},
        {"Users,Devises", "--columns: there is no column Devises; did you mean Devices?"},
        {"Users,,Devices",
         "--columns: there is no column ; what is not wanted is named Ignored"},
    };
    struct csv_mapping mapping;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        int r = csv_mapping_parse(&mapping, kind_of("affinity"), cases[i].names, &err);

        assert_int_equal(r, cases[i].error == NULL ? 0 : ERROR_USAGE);
        assert_string_equal(err.text, cases[i].error == NULL ? "" : cases[i].error);
        if (r == 0)
            expect_columns(&mapping, "Users,Ignored,Devices,Ignored");
    }
}

/* A header that names a column must name columns only; another one says nothing. */
static void test_header(void **state)
{
    (void)state;
    struct bytes fields[8];
    struct csv_mapping mapping;
    struct error err = {0};
    char fine[] = "name,RESOURCEID,Ignored", foreign[] = "Nom,Numero",
         half[] = "ResourceID,Name,Domian", short_one[] = "ResourceID,Domain";
    struct csv_row row = row_of(fine, fields);

    assert_int_equal(csv_mapping_header(&mapping, kind_of("devices"), &row, &err), 0);
    expect_columns(&mapping, "Name,ResourceID,Ignored");
    row = row_of(foreign, fields);
    assert_int_equal(csv_mapping_header(&mapping, kind_of("devices"), &row, &err), 1);
    row = row_of(half, fields);
    assert_int_equal(csv_mapping_header(&mapping, kind_of("devices"), &row, &err),
                     ERROR_USAGE);
    assert_non_null(strstr(err.text, "no column Domian; did you mean Domain?"));
    error_clear(&err);
    row = row_of(short_one, fields);
    assert_int_equal(csv_mapping_header(&mapping, kind_of("devices"), &row, &err),
                     ERROR_USAGE);
    assert_non_null(strstr(err.text, "the column Name is missing"));
}

/* Without a header: columns at the end may lack where they are not needed. */
static void test_guess(void **state)
{
    (void)state;
    struct bytes fields[8];
    struct csv_mapping mapping;
    static const struct {
        const char *kind, *line, *columns; /* NULL = refused */
    } cases[] = {
        {"affinity", "a\\b,PC1", "Users,Devices"},
        {"affinity", "a\\b", NULL},
        {"affinity", "a\\b,PC1,x", NULL},
        {"affinity", "users,devices", NULL}, /* a header */
        {"devices", "1,PC1", "ResourceID,Name"},
        {"devices", "1,PC1,1,,x", "ResourceID,Name,ClientType,MACAddresses,Domain"},
        {"devices", "1", NULL},
        {"devices", "1,PC1,1,,x,y", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error err = {0};
        char line[80];

        (void)snprintf(line, sizeof(line), "%s", cases[i].line);
        struct csv_row row = row_of(line, fields);
        int r = csv_mapping_guess(&mapping, kind_of(cases[i].kind), &row, &err);

        assert_int_equal(r, cases[i].columns == NULL ? ERROR_USAGE : 0);
        if (r == 0)
            expect_columns(&mapping, cases[i].columns);
    }
}

/* ---- commands ---------------------------------------------------------------------- */

/* The data of a row, or "!" and the reason. */
static void tell_data(const char *kind, const char *csv, struct buf *out)
{
    struct text text = {bytes_str(csv), 64};
    struct csv_mapping mapping;
    struct csv_reader *reader;
    struct csv_row row;
    struct buf reason = BUF_INIT;
    struct error err = {0};

    buf_clear(out);
    assert_int_equal(csv_reader_new(',', read_text, &text, &reader, NULL), 0);
    assert_int_equal(csv_reader_next(reader, &row, NULL), 0);
    assert_int_equal(csv_mapping_guess(&mapping, kind_of(kind), &row, &err), 0);
    int r = csv_row_data(&mapping, &row, NULL, out, &reason, &err);
    assert_true(r == 0 || r == 1);
    if (r == 1) {
        buf_clear(out);
        (void)buf_printf(out, "!%s", buf_cstr(&reason));
    }
    buf_release(&reason);
    csv_reader_free(reader);
}

static void test_data(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *data;
    } cases[] = {
        {"7,PC7", "{\"ResourceID\":7,\"Name\":\"PC7\"}"},
        {"7,\"P\"\"C\",3,,x", "{\"ResourceID\":7,\"Name\":\"P\\\"C\",\"ClientType\":3,"
                              "\"Domain\":\"x\"}"},
        {"7,a,,00:11;22:33,",
         "{\"ResourceID\":7,\"Name\":\"a\",\"MACAddresses\":[\"00:11\",\"22:33\"]}"},
        {"7,a,,\"\"\"0;1\"\";2\",",
         "{\"ResourceID\":7,\"Name\":\"a\",\"MACAddresses\":[\"0;1\",\"2\"]}"},
        {"7,a,,\" \",", "{\"ResourceID\":7,\"Name\":\"a\",\"MACAddresses\":[]}"},
        {"7,a,,\"\"\"0\",", "!MACAddresses: a quote where none may stand"},
        {"7,,,,", "{\"ResourceID\":7,\"Name\":\"\"}"}, /* the agent judges it */
        {"x,a", "!ResourceID: a whole number is wanted"},
        {"07,a", "!ResourceID: a whole number is wanted"},
        {",a", "!ResourceID: a whole number is wanted"},
        {"1.5,a", "!ResourceID: a whole number is wanted"},
        {"7,a,-1", "!ClientType: a whole number is wanted"},
    };
    struct buf data = BUF_INIT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tell_data("devices", cases[i].csv, &data);
        assert_string_equal(buf_cstr(&data), cases[i].data);
    }
    buf_release(&data);
}

#define PAIR "{\"SourceClientResourceID\":1,\"RestoreClientResourceID\":2,"

static void test_associations(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *data;
    } cases[] = {
        {"device:1,device:2,0", PAIR "\"MigrationBehavior\":0}"},
        {"device:1,device:2,0,,", PAIR "\"MigrationBehavior\":0}"},
        {"device:1,device:2,1,a\\b;c\\d",
         PAIR "\"MigrationBehavior\":1,\"UserNames\":[{\"UserName\":\"a\\\\b\"},"
              "{\"UserName\":\"c\\\\d\"}]}"},
        {"device:1,device:2,1,a\\b;c\\d,1031;0",
         PAIR "\"MigrationBehavior\":1,\"UserNames\":["
              "{\"UserName\":\"a\\\\b\",\"LocaleID\":1031},"
              "{\"UserName\":\"c\\\\d\",\"LocaleID\":0}]}"},
        {"device:1,device:2,1,a\\b;c\\d,1031", "!Users: 2 of them, with 1 locales"},
        {"device:1,device:2,1,,1031", "!Users: 0 of them, with 1 locales"},
        {"device:1,device:2,1,a\\b,x",
         "!Users: a whole number is wanted for each locale"},
        {"device:1,device:,0", "!RestoreDevice: a whole number is wanted"},
        {"device:1,device:2,", "!MigrationBehavior: a whole number is wanted"},
    };
    struct buf data = BUF_INIT;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        tell_data("associations", cases[i].csv, &data);
        assert_string_equal(buf_cstr(&data), cases[i].data);
    }
    buf_release(&data);
}

/* ---- rows on their way ------------------------------------------------------------- */

/* Outcomes come in any order, once or twice or for strangers; they are counted in the
 * order of the file. */
static void test_window(void **state)
{
    (void)state;
    struct import_rows *rows;
    const struct import_summary *summary;
    struct bytes reason = bytes_str("why"), none = bytes_str("");

    assert_int_equal(import_rows_new(NULL, &rows, NULL), 0);
    summary = import_rows_summary(rows);
    for (uint64_t round = 0; round < 3; round++) {
        uint64_t base = round * 2 * IMPORT_WINDOW;

        for (uint64_t i = 1; i <= IMPORT_WINDOW; i++) {
            assert_false(import_rows_full(rows));
            import_rows_begin(rows, base + 2 * i);
        }
        assert_true(import_rows_full(rows));
        for (uint64_t i = IMPORT_WINDOW; i > 1; i--) {
            assert_int_equal(
                import_rows_end(rows, base + 2 * i, IMPORT_ACCEPTED, i == 2, none, NULL),
                0);
            assert_int_equal(
                import_rows_end(rows, base + 2 * i, IMPORT_CONFLICT, false, none, NULL),
                0);
        }
        assert_int_equal(
            import_rows_end(rows, base + 3, IMPORT_REFUSED, false, none, NULL), 0);
        assert_true(import_rows_full(rows)); /* the first one keeps the others */
        assert_int_equal(import_rows_waiting(rows), 1);
        assert_int_equal(
            import_rows_end(rows, base + 2, IMPORT_REFUSED, true, reason, NULL), 0);
        assert_int_equal(import_rows_waiting(rows), 0);
    }
    import_rows_begin(rows, 100000);
    assert_int_equal(import_rows_give_up(rows, NULL), 0);
    assert_int_equal(summary->total, 3 * IMPORT_WINDOW + 1);
    assert_int_equal(summary->counts[IMPORT_ACCEPTED], 3 * (IMPORT_WINDOW - 1));
    assert_int_equal(summary->counts[IMPORT_REFUSED], 3);
    assert_int_equal(summary->counts[IMPORT_NO_ANSWER], 1);
    assert_int_equal(summary->counts[IMPORT_CONFLICT], 0);
    assert_int_equal(summary->repeated, 6);
    assert_int_equal(summary->refusal_count, 3);
    assert_int_equal(summary->refusals[1].line, 2 * IMPORT_WINDOW + 2);
    assert_true(bytes_equal_str(summary->refusals[1].reason, "why (decided before)"));
    import_rows_free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_nul),
        cmocka_unit_test(test_limits),       cmocka_unit_test(test_append),
        cmocka_unit_test(test_columns),      cmocka_unit_test(test_header),
        cmocka_unit_test(test_guess),        cmocka_unit_test(test_data),
        cmocka_unit_test(test_associations), cmocka_unit_test(test_window),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
