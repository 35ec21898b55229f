/* table.h - aligned columns for people and pipes.
 *
 *     static const char *const titles[] = {"SHARD", "<NAME", NULL};      '<' aligns to the left
 *     struct table *table = table_new(stdout, titles);
 *     table_cell(table, "%u", shard); table_text(table, name);           one per column, then the next row
 *     table_free(table);                                                 prints what is left
 *
 * Widths come from the first rows (TABLE_ROWS_HELD), which are held back until then; the
 * rest streams. Control characters in cells are shown escaped, so that no text takes over
 * a terminal. The header is bold on a terminal.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_TABLE_H
#define AGENT_CLI_TABLE_H

#include <stdio.h>

#include "events/base/bytes.h"

#define TABLE_COLUMNS_MAX 16
#define TABLE_ROWS_HELD 1000

struct table;
/* Ends the process when memory is out, as all calls here do: there is nothing else to
 * print. */
struct table *table_new(FILE *file, const char *const *titles);
void table_cell(struct table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void table_text(struct table *table, struct bytes text); /* absent: - */
void table_numbers(struct table *table, const uint32_t *values, size_t count);
/* Prints what is held back; what follows keeps these widths. */
void table_flush(struct table *table);
void table_free(struct table *table); /* NULL is fine */

/* Appends text with control characters and broken UTF-8 escaped; returns its width in
 * columns. */
size_t table_escape(struct buf *out, struct bytes text);

#define TEXT_WIDTH 80
/* Breaks text at blanks. The cursor stands at column indent, where further lines begin,
 * too. */
void print_wrapped(FILE *out, size_t indent, const char *text);

#endif
