/* table.c - see table.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <utf8proc.h>

#include "agent/cli/cli.h"

#define GAP 2 /* between columns, if the terminal is wide enough, else 1 */

struct column {
    const char *title;
    bool left;
    size_t width;
};

struct table {
    FILE *file;
    struct column columns[TABLE_COLUMNS_MAX];
    size_t column_count, gap;
    size_t column;    /* of the next cell */
    struct buf text;  /* of the cells held back, one after the other */
    struct buf cells; /* array of struct cell */
    bool header_done;
};

struct cell {
    size_t size, width;
};

static void must(bool fine)
{
    if (fine)
        return;
    (void)fputs("kinlog: out of memory\n", stderr);
    exit(EXIT_FAILED);
}

struct table *table_new(FILE *file, const char *const *titles)
{
    struct table *table = calloc(1, sizeof(*table));

    must(table != NULL);
    table->file = file;
    for (size_t i = 0; titles[i] != NULL; i++) {
        assert(table->column_count < TABLE_COLUMNS_MAX);
        struct column *column = &table->columns[table->column_count++];

        column->left = titles[i][0] == '<';
        column->title = titles[i] + column->left;
        column->width = strlen(column->title);
    }
    return table;
}

size_t table_escape(struct buf *out, struct bytes text)
{
    size_t width = 0;

    for (size_t i = 0; i < text.size;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t size =
            utf8proc_iterate(text.data + i, (utf8proc_ssize_t)(text.size - i), &point);
        utf8proc_category_t category =
            size > 0 ? utf8proc_category(point) : UTF8PROC_CATEGORY_CN;

        if (size <= 0) {
            must(buf_printf(out, "\\x%02x", text.data[i]) == 0);
            width += 4;
            i++;
            continue;
        }
        if (category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
            category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP) {
            size_t before = out->size;

            must(buf_printf(out, "\\u{%" PRIx32 "}", (uint32_t)point) == 0);
            width += out->size - before;
        } else {
            must(buf_append(out, text.data + i, (size_t)size) == 0);
            width += (size_t)utf8proc_charwidth(point);
        }
        i += (size_t)size;
    }
    return width;
}

void print_wrapped(FILE *out, size_t indent, const char *text)
{
    size_t width = TEXT_WIDTH - indent;

    while (true) {
        size_t size = strlen(text);

        if (size > width) {
            size = width;
            while (size > 0 && text[size] != ' ')
                size--;
            if (size == 0)
                size = strcspn(text, " ");
        }
        (void)fprintf(out, "%.*s\n", (int)size, text);
        text += size;
        text += strspn(text, " ");
        if (*text == '\0')
            return;
        (void)fprintf(out, "%*s", (int)indent, "");
    }
}

/* ---- printing ---------------------------------------------------------------------- */

static void print_cell(const struct table *table, size_t index, const char *text,
                       const struct cell *cell)
{
    const struct column *column = &table->columns[index];
    size_t padding = column->width > cell->width ? column->width - cell->width : 0;
    bool last = index + 1 == table->column_count;

    if (!column->left)
        (void)fprintf(table->file, "%*s", (int)padding, "");
    (void)fwrite(text, 1, cell->size, table->file);
    if (last)
        (void)fputc('\n', table->file);
    else
        (void)fprintf(table->file, "%*s",
                      (int)(table->gap + (column->left ? padding : 0)), "");
}

static void choose_gap(struct table *table)
{
    size_t columns = cli_columns(table->file), width = GAP * (table->column_count - 1);

    for (size_t i = 0; i < table->column_count; i++)
        width += table->columns[i].width;
    table->gap = columns > 0 && width > columns ? 1 : GAP;
}

static void print_header(struct table *table)
{
    bool colour = cli_colour(table->file);

    if (colour)
        (void)fputs("\033[1m", table->file);
    for (size_t i = 0; i < table->column_count; i++) {
        struct cell cell = {strlen(table->columns[i].title),
                            strlen(table->columns[i].title)};

        if (colour && i + 1 == table->column_count) {
            const struct column *column = &table->columns[i];

            (void)fprintf(table->file, "%*s%s\033[0m\n",
                          column->left ? 0 : (int)(column->width - cell.width), "",
                          column->title);
            break;
        }
        print_cell(table, i, table->columns[i].title, &cell);
    }
    table->header_done = true;
}

void table_flush(struct table *table)
{
    const struct cell *cells = (const struct cell *)(const void *)table->cells.data;
    size_t count = table->cells.size / sizeof(struct cell), at = 0;

    assert(table->column == 0);
    for (size_t i = 0; !table->header_done && i < count; i++) {
        struct column *column = &table->columns[i % table->column_count];

        if (cells[i].width > column->width)
            column->width = cells[i].width;
    }
    if (!table->header_done) {
        choose_gap(table);
        print_header(table);
    }
    for (size_t i = 0; i < count; i++) {
        print_cell(table, i % table->column_count, (const char *)table->text.data + at,
                   &cells[i]);
        at += cells[i].size;
    }
    buf_clear(&table->text);
    buf_clear(&table->cells);
}

/* ---- cells ------------------------------------------------------------------------- */

void table_text(struct table *table, struct bytes text)
{
    struct cell cell = {0, 0};
    size_t before = table->text.size;

    if (text.data == NULL || text.size == 0)
        text = bytes_str("-");
    cell.width = table_escape(&table->text, text);
    cell.size = table->text.size - before;
    must(buf_append(&table->cells, &cell, sizeof(cell)) == 0);
    table->column = (table->column + 1) % table->column_count;
    if (table->column == 0 &&
        (table->header_done ||
         table->cells.size / sizeof(cell) >= TABLE_ROWS_HELD * table->column_count))
        table_flush(table);
}

void table_cell(struct table *table, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    table_text(table, bytes_str(text));
}

void table_numbers(struct table *table, const uint32_t *values, size_t count)
{
    struct buf text = BUF_INIT;

    for (size_t i = 0; i < count; i++)
        must(buf_printf(&text, "%s%" PRIu32, i > 0 ? "," : "", values[i]) == 0);
    table_text(table, count > 0 ? buf_bytes(&text) : BYTES_ABSENT);
    buf_release(&text);
}

void table_free(struct table *table)
{
    if (table == NULL)
        return;
    table_flush(table);
    buf_release(&table->text);
    buf_release(&table->cells);
    free(table);
}
