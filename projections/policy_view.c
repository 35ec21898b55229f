/* policy_view.c - the site policy that this shard goes by.
 *
 * Row: key 'P' | name; integers big-endian:
 *   u64 revision | u64 version | value to the end
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "projections/views_internal.h"

#include <string.h>

#include "schemas/events.h"

#define ROW_FIXED 16

static const struct policy_name policy_names[] = {
    {"approval.sources", "", "sources that need approval, such as 1,4; empty = none"},
    {"core.rules", "1",
     "a number of rules that this version knows, not below the present one"},
    {"devices.unknown", "refuse",
     "refuse (a relationship needs a registered device) or stub (it is registered "
     "without a name)"},
    {"keys.recipients", "",
     "public keys that GetEncryptDecryptKey may seal for (X25519, base64url), separated "
     "by "
     "commas; none: nobody gets a key"},
    {"requests.timeout", "30",
     "seconds that another shard has to answer, from 1 to 3600: then the command that "
     "needs it is refused"},
    {"usage.days", "0", "how many days usage.minutes are counted over, 0 to 90; 0 = off"},
    {"usage.minutes", "0",
     "how many minutes of use make a user of a device (source 4), 0 to 129600; 0 = off"},
};
#define POLICY_NAME_COUNT (sizeof policy_names / sizeof policy_names[0])

const struct policy_name *policy_name_at(size_t index)
{
    return index < POLICY_NAME_COUNT ? &policy_names[index] : NULL;
}

static struct bytes policy_key(struct buf *key, struct bytes name)
{
    buf_clear(key);
    buf_append_byte(key, 'P');
    buf_append_bytes(key, name);
    return buf_bytes(key);
}

int policy_apply_changed(struct views *views, const struct event *event, const void *data,
                         struct error *err)
{
    const struct policy_changed_v1 *changed = data;
    struct buf *row = &views->row;
    uint64_t revision;
    struct bytes old;
    int code = policy_revision(views, &revision, err);

    if (code != 0)
        return code;
    if (changed->revision <= revision)
        return event_misfit(event, "its revision is not above the present one", err);
    struct policy limits;
    if (changed->name.size >= sizeof limits.name ||
        changed->value.size >= sizeof limits.value)
        return event_misfit(event, "its name or value is too long", err);
    struct bytes key = policy_key(&views->key, changed->name);
    if (views->key.failed)
        return views_no_memory(err);
    code = row_open(views, VIEW_POLICY, key, &old, err);
    if (code != 0)
        return code;
    buf_clear(row);
    buf_append_u64be(row, changed->revision);
    buf_append_u64be(row, event->sequence);
    if (buf_append_bytes(row, changed->value) != 0)
        return views_no_memory(err);
    return row_set(views, buf_bytes(row), err);
}

static void copy_text(char *out, size_t size, struct bytes text)
{
    size_t length = text.size < size ? text.size : size - 1;

    if (length > 0)
        memcpy(out, text.data, length);
    out[length] = '\0';
}

static const char *default_value(const char *name)
{
    for (size_t i = 0; i < POLICY_NAME_COUNT; i++) {
        if (strcmp(policy_names[i].name, name) == 0)
            return policy_names[i].default_value;
    }
    return "";
}

int policy_get(struct views *views, const char *name, struct policy *ret_policy,
               struct error *err)
{
    struct bytes key = policy_key(&views->key, bytes_str(name));
    struct policy policy = {0};

    if (views->key.failed)
        return views_no_memory(err);
    copy_text(policy.name, sizeof policy.name, bytes_str(name));
    int code = row_get(views, VIEW_POLICY, key, &views->row, err);
    if (code < 0)
        return code;
    if (code == 1) {
        copy_text(policy.value, sizeof policy.value, bytes_str(default_value(name)));
        *ret_policy = policy;
        return 1;
    }
    struct row_reader reader = row_reader_of(buf_bytes(&views->row));
    policy.revision = row_take_u64(&reader);
    policy.version = row_take_u64(&reader);
    if (reader.failed || reader.rest.size >= sizeof policy.value)
        return row_damaged(VIEW_POLICY, err);
    copy_text(policy.value, sizeof policy.value, reader.rest);
    *ret_policy = policy;
    return 0;
}

/* There are as many rows as names, so looking at all of them costs little. */
int policy_revision(struct views *views, uint64_t *ret_revision, struct error *err)
{
    struct kv_cursor *cursor = NULL;
    struct bytes key, row;
    uint64_t highest = 0;
    int code = kv_cursor_open(views->kv, views->batch, KV_VIEWS, bytes_str("P"),
                              bytes_str("Q"), &cursor, err);

    if (code != 0)
        return code;
    while ((code = kv_cursor_next(cursor, &key, &row, err)) == 0) {
        if (row.size < ROW_FIXED) {
            code = row_damaged(VIEW_POLICY, err);
            break;
        }
        uint64_t revision = read_u64be(row.data);
        if (revision > highest)
            highest = revision;
    }
    kv_cursor_close(cursor);
    if (code < 0)
        return code;
    *ret_revision = highest;
    return 0;
}
