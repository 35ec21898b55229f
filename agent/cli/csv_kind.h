/* csv_kind.h - what `import` and `export` know of each kind of file: its columns, and the
 * command that a row becomes.
 *
 * A cell of a device is its name, or device:<ResourceID> where no name will do. A list is
 * CSV within the cell, with semicolons for commas.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_CLI_CSV_KIND_H
#define AGENT_CLI_CSV_KIND_H

#include "agent/cli/csv_reader.h"
#include "agent/cli/device_names.h"

enum csv_form {
    CSV_TEXT,
    CSV_NUMBER,
    CSV_DEVICE,
    CSV_LIST,   /* of texts */
    CSV_USERS,  /* a list, too; the next column has their locales */
    CSV_LOCALES /* a list of numbers, as many as there are users, or none */
};

struct csv_column {
    const char *name;
    const char
        *parameter; /* of the command; NULL = it goes into that of another column */
    enum csv_form form;
    bool required; /* the file must have it */
};

struct csv_kind {
    const char *name; /* as people write it */
    const char *command;
    const char *constants;            /* members of the command that no column tells */
    const struct csv_column *columns; /* in the order in which files have them */
    size_t column_count;
};

extern const struct csv_kind csv_kinds[]; /* ends with name == NULL */
const struct csv_kind *csv_kind_find(const char *name, struct error *err);
/* Does it take the names of devices? */
bool csv_kind_needs_names(const struct csv_kind *kind);

/* Which columns the file has. */
struct csv_mapping {
    const struct csv_kind *kind;
    const struct csv_column *columns[CSV_COLUMNS_MAX]; /* NULL = ignored */
    size_t count;
};

/* From `Users,Devices,Ignored`. ERROR_USAGE. */
int csv_mapping_parse(struct csv_mapping *mapping, const struct csv_kind *kind,
                      const char *names, struct error *err);
/* From a file's header. 1: it names no column, and says nothing. ERROR_USAGE. */
int csv_mapping_header(struct csv_mapping *mapping, const struct csv_kind *kind,
                       const struct csv_row *header, struct error *err);
/* From the first row, by the number of its cells. ERROR_USAGE: it does not fit, or looks
 * like a header. */
int csv_mapping_guess(struct csv_mapping *mapping, const struct csv_kind *kind,
                      const struct csv_row *row, struct error *err);
/* Appends the names of its columns, separated by commas. */
void csv_mapping_append(struct buf *out, const struct csv_mapping *mapping);

/* Appends the command's data; names may be NULL where the kind needs none. 0; 1 = there
 * can be no such command: the reason is appended to ret_reason; or negative. */
int csv_row_data(const struct csv_mapping *mapping, const struct csv_row *row,
                 const struct device_names *names, struct buf *out,
                 struct buf *ret_reason, struct error *err);

/* ---- cells, written ---------------------------------------------------------------- */

/* name: absent for a stub. */
void csv_append_device(struct buf *out, const struct device_names *names, uint32_t id,
                       struct bytes name);
void csv_append_list(struct buf *out, const struct bytes *items, size_t count);

#endif
