/* csv_kind.c - see csv_kind.h.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/cli/csv_kind.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

#include "agent/config/spelling.h"

#define IGNORED "Ignored"
#define ID_PREFIX "device:"
#define COLUMN_NAME_MAX 64
#define CANDIDATES_MAX 10
#define ECHO_BYTES_MAX 1024 /* of a device's name in a reason; no name is longer */
#define LIST_DELIMITER ';'

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the kinds --------------------------------------------------------------------- */

static const struct csv_column affinity_columns[] = {
    {"Users", "UserAccountName", CSV_TEXT, true},
    {"Devices", "MachineResourceId", CSV_DEVICE, true},
};

static const struct csv_column device_columns[] = {
    {"ResourceID", "ResourceID", CSV_NUMBER, true},
    {"Name", "Name", CSV_TEXT, true},
    {"ClientType", "ClientType", CSV_NUMBER, false},
    {"MACAddresses", "MACAddresses", CSV_LIST, false},
    {"Domain", "Domain", CSV_TEXT, false},
};

static const struct csv_column association_columns[] = {
    {"SourceDevice", "SourceClientResourceID", CSV_DEVICE, true},
    {"RestoreDevice", "RestoreClientResourceID", CSV_DEVICE, true},
    {"MigrationBehavior", "MigrationBehavior", CSV_NUMBER, true},
    {"Users", "UserNames", CSV_USERS, false},
    {"LocaleIDs", NULL, CSV_LOCALES, false},
};

const struct csv_kind csv_kinds[] = {
    {"affinity", "CreateRelationship", "\"SourceId\":2,\"TypeId\":1", affinity_columns,
     COUNT(affinity_columns)},
    {"devices", "RegisterDevice", "", device_columns, COUNT(device_columns)},
    {"associations", "AddAssociationEx", "", association_columns,
     COUNT(association_columns)},
    {NULL, NULL, NULL, NULL, 0},
};

const struct csv_kind *csv_kind_find(const char *name, struct error *err)
{
    struct spelling spelling = {.word = name};

    for (const struct csv_kind *kind = csv_kinds; kind->name != NULL; kind++) {
        if (strcmp(kind->name, name) == 0)
            return kind;
        spelling_try(&spelling, kind->name);
    }
    if (spelling_best(&spelling) != NULL)
        (void)error_set(err, ERROR_USAGE, "there is no kind of file %s; did you mean %s?",
                        name, spelling_best(&spelling));
    else
        (void)error_set(err, ERROR_USAGE, "there is no kind of file %s", name);
    return NULL;
}

bool csv_kind_needs_names(const struct csv_kind *kind)
{
    for (size_t i = 0; i < kind->column_count; i++) {
        if (kind->columns[i].form == CSV_DEVICE)
            return true;
    }
    return false;
}

/* ---- which columns there are ------------------------------------------------------- */

/* Is that a column's name, or Ignored? Then *ret_column, NULL for the latter. */
static bool find_column(const struct csv_kind *kind, struct bytes name,
                        const struct csv_column **ret_column)
{
    *ret_column = NULL;
    if (name.size == strlen(IGNORED) &&
        strncasecmp((const char *)name.data, IGNORED, name.size) == 0)
        return true;
    for (size_t i = 0; i < kind->column_count; i++) {
        const struct csv_column *column = &kind->columns[i];

        if (name.size == strlen(column->name) &&
            strncasecmp((const char *)name.data, column->name, name.size) == 0) {
            *ret_column = column;
            return true;
        }
    }
    return false;
}

/* The file's place of a column; mapping->count if it has none. */
static size_t place_of(const struct csv_mapping *mapping, const struct csv_column *column)
{
    size_t place = 0;

    while (place < mapping->count && mapping->columns[place] != column)
        place++;
    return place;
}

static int add_column(struct csv_mapping *mapping, struct bytes name, struct error *err)
{
    const struct csv_kind *kind = mapping->kind;
    const struct csv_column *column;
    char text[COLUMN_NAME_MAX] = "";
    struct spelling spelling = {.word = text};

    if (find_column(kind, name, &column)) {
        if (mapping->count == CSV_COLUMNS_MAX)
            return error_set(err, ERROR_USAGE, "more than %d columns", CSV_COLUMNS_MAX);
        if (column != NULL && place_of(mapping, column) < mapping->count)
            return error_set(err, ERROR_USAGE, "the column %s is named twice",
                             column->name);
        mapping->columns[mapping->count++] = column;
        return 0;
    }
    memcpy(text, name.data, name.size < sizeof(text) ? name.size : sizeof(text) - 1);
    for (size_t i = 0; i < kind->column_count; i++)
        spelling_try(&spelling, kind->columns[i].name);
    if (spelling_best(&spelling) != NULL)
        return error_set(err, ERROR_USAGE, "there is no column %s; did you mean %s?",
                         text, spelling_best(&spelling));
    return error_set(err, ERROR_USAGE,
                     "there is no column %s; what is not wanted is named Ignored", text);
}

static int check_required(const struct csv_mapping *mapping, struct error *err)
{
    for (size_t i = 0; i < mapping->kind->column_count; i++) {
        const struct csv_column *column = &mapping->kind->columns[i];

        if (column->required && place_of(mapping, column) == mapping->count)
            return error_set(err, ERROR_USAGE, "the column %s is missing", column->name);
    }
    return 0;
}

int csv_mapping_parse(struct csv_mapping *mapping, const struct csv_kind *kind,
                      const char *names, struct error *err)
{
    int r = 0;

    *mapping = (struct csv_mapping){.kind = kind};
    for (const char *at = names; r == 0 && at != NULL;) {
        size_t size = strcspn(at, ",");

        r = add_column(mapping, bytes_of(at, size), err);
        at = at[size] == ',' ? at + size + 1 : NULL;
    }
    if (r == 0)
        r = check_required(mapping, err);
    if (r < 0)
        error_prefix(err, "--columns");
    return r;
}

int csv_mapping_header(struct csv_mapping *mapping, const struct csv_kind *kind,
                       const struct csv_row *header, struct error *err)
{
    const struct csv_column *column;
    bool known = false;
    int r = 0;

    *mapping = (struct csv_mapping){.kind = kind};
    for (size_t i = 0; i < header->count; i++)
        known = known || find_column(kind, header->fields[i], &column);
    if (!known)
        return 1;
    for (size_t i = 0; r == 0 && i < header->count; i++)
        r = add_column(mapping, header->fields[i], err);
    if (r == 0)
        r = check_required(mapping, err);
    if (r < 0)
        error_prefix(err, "the file's header (--columns goes before it)");
    return r;
}

static bool looks_like_header(const struct csv_kind *kind, const struct csv_row *row)
{
    const struct csv_column *column;

    for (size_t i = 0; i < row->count; i++) {
        if (!find_column(kind, row->fields[i], &column))
            return false;
    }
    return true;
}

int csv_mapping_guess(struct csv_mapping *mapping, const struct csv_kind *kind,
                      const struct csv_row *row, struct error *err)
{
    size_t least = 0;

    *mapping = (struct csv_mapping){.kind = kind};
    if (looks_like_header(kind, row))
        return error_set(err, ERROR_USAGE,
                         "line %" PRIu64 " names the columns: say so with --header",
                         row->line);
    while (least < kind->column_count && kind->columns[least].required)
        least++;
    if (row->count < least || row->count > kind->column_count) {
        struct buf names = BUF_INIT;

        mapping->count = kind->column_count;
        for (size_t i = 0; i < kind->column_count; i++)
            mapping->columns[i] = &kind->columns[i];
        csv_mapping_append(&names, mapping);
        (void)error_set(err, ERROR_USAGE,
                        "line %" PRIu64 " has %zu column%s, not %s: say with --columns "
                        "which they are; one that is not wanted is Ignored",
                        row->line, row->count, row->count == 1 ? "" : "s",
                        buf_cstr(&names));
        buf_release(&names);
        return ERROR_USAGE;
    }
    for (size_t i = 0; i < row->count; i++)
        mapping->columns[mapping->count++] = &kind->columns[i];
    return 0;
}

void csv_mapping_append(struct buf *out, const struct csv_mapping *mapping)
{
    for (size_t i = 0; i < mapping->count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        (void)buf_append_str(out, mapping->columns[i] != NULL ? mapping->columns[i]->name
                                                              : IGNORED);
    }
}

/* ---- from a row to a command ------------------------------------------------------- */

struct making {
    const struct csv_mapping *mapping;
    const struct csv_row *row;
    const struct device_names *names;
    struct buf *out, *reason;
};

static struct bytes cell_of(const struct making *making, const struct csv_column *column)
{
    size_t place = place_of(making->mapping, column);

    return place < making->mapping->count ? making->row->fields[place] : BYTES_ABSENT;
}

static void refuse_candidates(const struct making *making, struct bytes name,
                              size_t first, size_t count)
{
    (void)buf_append_bytes(making->reason, name);
    (void)buf_printf(making->reason, " is the name of %zu devices: ", count);
    for (size_t i = 0; i < count && i < CANDIDATES_MAX; i++)
        (void)buf_printf(making->reason, "%s" ID_PREFIX "%" PRIu32, i > 0 ? ", " : "",
                         device_names_id(making->names, first + i));
    if (count > CANDIDATES_MAX)
        (void)buf_append_str(making->reason, ", ...");
    (void)buf_append_str(making->reason, "; write the one that is meant");
}

/* Each returns 0, or 1 = refused. */

static int append_number(const struct making *making, struct bytes cell)
{
    size_t digits = 0;

    while (digits < cell.size && cell.data[digits] >= '0' && cell.data[digits] <= '9')
        digits++;
    if (cell.size == 0 || digits < cell.size || (cell.size > 1 && cell.data[0] == '0')) {
        (void)buf_append_str(making->reason, "a whole number is wanted");
        return 1;
    }
    (void)buf_append_bytes(making->out, cell); /* the agent judges its size */
    return 0;
}

static int append_device(const struct making *making, struct bytes cell)
{
    struct bytes prefix = bytes_str(ID_PREFIX);
    size_t first, count;

    if (bytes_has_prefix(cell, prefix))
        return append_number(making,
                             bytes_of(cell.data + prefix.size, cell.size - prefix.size));
    count = device_names_find(making->names, cell, &first);
    if (count == 1) {
        (void)buf_append_u64dec(making->out, device_names_id(making->names, first));
        return 0;
    }
    if (cell.size == 0) {
        (void)buf_append_str(making->reason, "no device is named");
    } else if (count > 1) {
        refuse_candidates(making, cell, first, count);
    } else {
        (void)buf_append_str(making->reason, "there is no device of the name ");
        (void)buf_append(making->reason, cell.data,
                         cell.size < ECHO_BYTES_MAX ? cell.size : ECHO_BYTES_MAX);
    }
    return 1;
}

static int read_once(void *context, struct bytes *ret_piece, struct error *err)
{
    struct bytes *text = context;

    (void)err;
    *ret_piece = *text;
    text->size = 0;
    return 0;
}

/* The items of a list, borrowed from *ret_reader, which the caller frees in any case. 0,
 * 1 = refused, or negative. */
static int read_list(const struct making *making, struct bytes cell,
                     struct csv_reader **ret_reader, struct csv_row *ret_items,
                     struct error *err)
{
    const struct csv_row none = {.count = 0};
    int r = csv_reader_new(LIST_DELIMITER, read_once, &cell, ret_reader, err);

    if (r == 0)
        r = csv_reader_next(*ret_reader, ret_items, err);
    if (r == 1) { /* nothing but blanks */
        *ret_items = none;
        return 0;
    }
    if (r == 0 && ret_items->fault != NULL) {
        (void)buf_append_str(making->reason, ret_items->fault);
        return 1;
    }
    return r;
}

static int append_list(const struct making *making, struct bytes cell, struct error *err)
{
    struct csv_reader *reader = NULL;
    struct csv_row items;
    int r = read_list(making, cell, &reader, &items, err);

    if (r == 0) {
        (void)buf_append_byte(making->out, '[');
        for (size_t i = 0; i < items.count; i++) {
            (void)buf_append_str(making->out, i > 0 ? "," : "");
            (void)buf_append_json_string(making->out, items.fields[i]);
        }
        (void)buf_append_byte(making->out, ']');
    }
    csv_reader_free(reader);
    return r;
}

/* locales: as many as users, or none. */
static int append_user_list(const struct making *making, const struct csv_row *users,
                            const struct csv_row *locales)
{
    int r = 0;

    if (locales->count > 0 && locales->count != users->count) {
        (void)buf_printf(making->reason, "%zu of them, with %zu locales", users->count,
                         locales->count);
        return 1;
    }
    (void)buf_append_byte(making->out, '[');
    for (size_t i = 0; r == 0 && i < users->count; i++) {
        (void)buf_append_str(making->out, i > 0 ? ",{\"UserName\":" : "{\"UserName\":");
        (void)buf_append_json_string(making->out, users->fields[i]);
        if (locales->count > 0) {
            (void)buf_append_str(making->out, ",\"LocaleID\":");
            r = append_number(making, locales->fields[i]);
            if (r != 0)
                (void)buf_append_str(making->reason, " for each locale");
        }
        (void)buf_append_byte(making->out, '}');
    }
    (void)buf_append_byte(making->out, ']');
    return r;
}

static int append_users(const struct making *making, struct bytes users_cell,
                        struct bytes locales_cell, struct error *err)
{
    struct csv_reader *users_reader = NULL, *locales_reader = NULL;
    struct csv_row users, locales;
    int r = read_list(making, users_cell, &users_reader, &users, err);

    if (r == 0)
        r = read_list(making, locales_cell, &locales_reader, &locales, err);
    if (r == 0)
        r = append_user_list(making, &users, &locales);
    csv_reader_free(users_reader);
    csv_reader_free(locales_reader);
    return r;
}

static int append_value(const struct making *making, const struct csv_column *column,
                        struct bytes cell, struct error *err)
{
    switch (column->form) {
    case CSV_TEXT:
        (void)buf_append_json_string(making->out, cell);
        break;
    case CSV_NUMBER:
        return append_number(making, cell);
    case CSV_DEVICE:
        return append_device(making, cell);
    case CSV_LIST:
        return append_list(making, cell, err);
    case CSV_USERS:
        return append_users(making, cell, cell_of(making, column + 1), err);
    case CSV_LOCALES: /* with the users */
        break;
    }
    return 0;
}

static int append_member(const struct making *making, const struct csv_column *column,
                         struct error *err)
{
    struct bytes cell = cell_of(making, column);
    struct buf *out = making->out;
    bool empty = cell.size == 0 &&
                 (column->form != CSV_USERS || cell_of(making, column + 1).size == 0);

    if (column->parameter == NULL || (empty && !column->required))
        return 0;
    if (out->data[out->size - 1] != '{')
        (void)buf_append_byte(out, ',');
    (void)buf_append_json_string(out, bytes_str(column->parameter));
    (void)buf_append_byte(out, ':');
    (void)buf_printf(making->reason, "%s: ", column->name);
    int r = append_value(making, column, cell, err);
    if (r == 0)
        buf_clear(making->reason);
    return r;
}

int csv_row_data(const struct csv_mapping *mapping, const struct csv_row *row,
                 const struct device_names *names, struct buf *out,
                 struct buf *ret_reason, struct error *err)
{
    const struct csv_kind *kind = mapping->kind;
    const struct making making = {mapping, row, names, out, ret_reason};
    int r = 0;

    if (row->count != mapping->count) {
        (void)buf_printf(ret_reason, "%zu column%s where %zu are wanted", row->count,
                         row->count == 1 ? "" : "s", mapping->count);
        return 1;
    }
    if (buf_append_byte(out, '{') < 0)
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    (void)buf_append_str(out, kind->constants);
    for (size_t i = 0; r == 0 && i < kind->column_count; i++)
        r = append_member(&making, &kind->columns[i], err);
    (void)buf_append_byte(out, '}');
    if (r >= 0 && (out->failed || ret_reason->failed))
        return error_set(err, ERROR_NO_MEMORY, "out of memory");
    return r;
}

/* ---- cells, written ---------------------------------------------------------------- */

void csv_append_device(struct buf *out, const struct device_names *names, uint32_t id,
                       struct bytes name)
{
    size_t first;

    if (name.data != NULL && !bytes_has_prefix(name, bytes_str(ID_PREFIX)) &&
        device_names_find(names, name, &first) == 1)
        csv_append(out, ',', name);
    else
        (void)buf_printf(out, ID_PREFIX "%" PRIu32, id);
}

void csv_append_list(struct buf *out, const struct bytes *items, size_t count)
{
    struct buf list = BUF_INIT;

    for (size_t i = 0; i < count; i++) {
        (void)buf_append_str(&list, i > 0 ? ";" : "");
        csv_append(&list, LIST_DELIMITER, items[i]);
    }
    csv_append(out, ',', buf_bytes(&list));
    out->failed = out->failed || list.failed;
    buf_release(&list);
}
