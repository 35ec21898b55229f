/* association.c - AddAssociation and its family: whose user state goes where (domain.md 2
 * and 5; decisions D7 to D9).
 *
 * The shard of the source device decides. A restoring device of another shard is asked for
 * first (conversation.c): the association is pending until then, and counts as there.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "events/base/user_name.h"
#include "schemas/commands.h"
#include "schemas/events.h"

/* Users, wherever they come from; borrowed. */
struct users {
    const struct association_user *items;
    size_t count;
};

/* ---- the parameters ---------------------------------------------------------------- */

/* A name as it is compared, in a buffer that holds all of them. */
struct folded_name {
    const struct buf *names;
    size_t offset;
    size_t size;
};

static int compare_names(const void *left, const void *right)
{
    const struct folded_name *a = left, *b = right;

    return bytes_compare(bytes_of(a->names->data + a->offset, a->size),
                         bytes_of(b->names->data + b->offset, b->size));
}

/* 1 = two names are the same. The list is sorted, since it may be long. */
static int holds_name_twice(const struct users *users)
{
    struct buf names = BUF_INIT;
    struct folded_name *folded = calloc(users->count + 1, sizeof *folded);
    int code = folded == NULL ? ERROR_NO_MEMORY : 0;

    for (size_t i = 0; code == 0 && i < users->count; i++) {
        folded[i] = (struct folded_name){.names = &names, .offset = names.size};
        code = user_name_fold(users->items[i].name, &names);
        folded[i].size = names.size - folded[i].offset;
    }
    if (code == 0)
        qsort(folded, users->count, sizeof *folded, compare_names);
    for (size_t i = 1; code == 0 && i < users->count; i++)
        code = compare_names(&folded[i - 1], &folded[i]) == 0;
    free(folded);
    buf_release(&names);
    return code;
}

static struct param_fault check_users(const char *parameter, const struct users *users)
{
    for (size_t i = 0; i < users->count; i++) {
        const char *fault = user_name_fault(users->items[i].name);
        if (fault != NULL)
            return fault_of(parameter, fault);
    }
    int code = holds_name_twice(users);
    return (struct param_fault){
        .parameter = parameter,
        .text = code == 1 ? "two of the names are the same user (case and composition "
                            "do not count): name each user once"
                          : NULL,
        .no_memory = code < 0,
    };
}

/* Copies a list of a command (each has an item type of its own, all of one shape) into
 * storage. What is longer than a schema allows was refused, or is about to be. */
#define USERS_OF(list, has_list, storage, users)                                         \
    do {                                                                                 \
        size_t count_ = (has_list) ? (list).count : 0;                                   \
        (users)->count =                                                                 \
            count_ < ASSOCIATION_USERS_MAX ? count_ : ASSOCIATION_USERS_MAX;             \
        for (size_t i_ = 0; i_ < (users)->count; i_++) {                                 \
            (storage)[i_].locale_id =                                                    \
                (list).items[i_].has_locale_id ? (list).items[i_].locale_id : 0;         \
            (storage)[i_].name = (list).items[i_].user_name;                             \
        }                                                                                \
        (users)->items = (storage);                                                      \
    } while (0)

#define NEEDS_USERS "MigrationBehavior 1 and 2 restore the users named: name one at least"

struct param_fault add_association_check(const void *params)
{
    const struct add_association_v1 *wanted = params;
    struct association_user storage[ASSOCIATION_USERS_MAX];
    struct users users;

    USERS_OF(wanted->user_names, wanted->has_user_names, storage, &users);
    return check_users("UserNames", &users);
}

struct param_fault add_association_ex_check(const void *params)
{
    const struct add_association_ex_v1 *wanted = params;
    struct association_user storage[ASSOCIATION_USERS_MAX];
    struct users users;

    USERS_OF(wanted->user_names, wanted->has_user_names, storage, &users);
    if (wanted->migration_behavior != CAPTURE_AND_RESTORE_ALL && users.count == 0)
        return fault_of("UserNames", NEEDS_USERS);
    return check_users("UserNames", &users);
}

struct param_fault change_association_check(const void *params)
{
    const struct change_association_v1 *wanted = params;
    struct association_user storage[ASSOCIATION_USERS_MAX];
    struct users users;

    USERS_OF(wanted->add_user_names, wanted->has_add_user_names, storage, &users);
    struct param_fault fault = check_users("AddUserNames", &users);
    if (fault.text != NULL || fault.no_memory)
        return fault;
    USERS_OF(wanted->remove_user_names, wanted->has_remove_user_names, storage, &users);
    return check_users("RemoveUserNames", &users);
}

struct route add_association_route(const void *params)
{
    const struct add_association_v1 *wanted = params;

    return (struct route){.resource_id = wanted->source_client_resource_id};
}

struct route add_association_ex_route(const void *params)
{
    const struct add_association_ex_v1 *wanted = params;

    return (struct route){.resource_id = wanted->source_client_resource_id};
}

/* The methods of an association begin alike, but each has a struct of its own. */
#define MEANT_BY(method)                                                                 \
    struct association_meant method##_meant(const void *params)                          \
    {                                                                                    \
        const struct method##_v1 *wanted = params;                                       \
                                                                                         \
        return (struct association_meant){                                               \
            .has_migration_id = wanted->has_migration_id,                                \
            .migration_id = wanted->migration_id,                                        \
            .has_source = wanted->has_source_client_resource_id,                         \
            .source = wanted->source_client_resource_id,                                 \
            .has_restore = wanted->has_restore_client_resource_id,                       \
            .restore = wanted->restore_client_resource_id,                               \
        };                                                                               \
    }
MEANT_BY(delete_association)
MEANT_BY(change_association)
MEANT_BY(start_capture)
MEANT_BY(complete_capture)
MEANT_BY(complete_restore)
MEANT_BY(delete_store)
MEANT_BY(get_encrypt_decrypt_key)
#undef MEANT_BY

struct param_fault association_check(const struct association_meant *meant,
                                     bool source_alone)
{
    struct position position;

    if (meant->has_migration_id)
        return fault_of("MigrationID",
                        position_parse(meant->migration_id, &position)
                            ? NULL
                            : "this is no MigrationID: they are of the form 2-1841, and "
                              "stand in answers and lists");
    if (!meant->has_source && !meant->has_restore)
        return fault_of("MigrationID",
                        "say which association is meant: give MigrationID, or "
                        "SourceClientResourceID and RestoreClientResourceID");
    if (!meant->has_source)
        return fault_of(
            "SourceClientResourceID",
            "a RestoreClientResourceID alone does not say which association is "
            "meant: give SourceClientResourceID, too");
    if (!meant->has_restore && !source_alone)
        return fault_of(
            "RestoreClientResourceID",
            "a SourceClientResourceID alone does not say which association is "
            "meant: give RestoreClientResourceID, too");
    return (struct param_fault){0};
}

/* ---- what a command is about ------------------------------------------------------- */

bool is_local_device(const struct deciding *deciding, uint32_t resource_id)
{
    char key[sizeof "device:4294967295"];

    snprintf(key, sizeof key, "device:%u", resource_id);
    return shard_of_key(bytes_str(key), deciding->command->shards) ==
           deciding->command->shard;
}

static struct bytes pair_subject(struct arena *arena, uint32_t source, uint32_t restore)
{
    char text[64];

    snprintf(text, sizeof text, "device/%u/association/%u", source, restore);
    return arena_copy(arena, bytes_str(text));
}

int aim_at_pair(struct deciding *deciding, uint32_t source, uint32_t restore)
{
    struct aggregate *aggregate = &deciding->aggregate;

    aggregate->key = device_key(deciding->arena, source);
    aggregate->subject = pair_subject(deciding->arena, source, restore);
    aggregate->version = deciding->has_association ? deciding->association.version : 0;
    if (aggregate->key.data == NULL || aggregate->subject.data == NULL)
        return decide_no_memory(deciding->err);
    return 0;
}

int find_association_device(struct deciding *deciding, uint32_t resource_id,
                            const char *parameter, bool *ret_stub)
{
    struct device device;
    int code =
        device_get(deciding->views, resource_id, deciding->arena, &device, deciding->err);

    if (code <= 0)
        return code;
    /* the first fault stays */
    struct refusal before = deciding->fault;
    code = judge_unknown_device(deciding, parameter,
                                "no device with this id is registered; send "
                                "RegisterDevice first",
                                ret_stub);
    if (before.description != NULL)
        deciding->fault = before;
    return code;
}

static int find_new_pair(struct deciding *deciding, uint32_t source, uint32_t restore)
{
    int code = association_get(deciding->views, source, restore, deciding->arena,
                               &deciding->association, deciding->err);

    if (code < 0)
        return code;
    deciding->has_association = code == 0;
    code = aim_at_pair(deciding, source, restore);
    if (code == 0)
        code = find_association_device(deciding, source, "SourceClientResourceID",
                                       &deciding->stub_source);
    if (code == 0 && restore != source && is_local_device(deciding, restore))
        code = find_association_device(deciding, restore, "RestoreClientResourceID",
                                       &deciding->stub_restore);
    return code;
}

int add_association_find(struct deciding *deciding)
{
    const struct add_association_v1 *wanted = deciding->command->params;

    return find_new_pair(deciding, wanted->source_client_resource_id,
                         wanted->restore_client_resource_id);
}

int add_association_ex_find(struct deciding *deciding)
{
    const struct add_association_ex_v1 *wanted = deciding->command->params;

    return find_new_pair(deciding, wanted->source_client_resource_id,
                         wanted->restore_client_resource_id);
}

/* By MigrationID; what else is given must agree. 0, 1 = there is none, or negative. */
static int find_by_id(struct deciding *deciding, const struct association_meant *meant)
{
    struct association *found = &deciding->association;
    struct position position;

    if (!position_parse(meant->migration_id, &position) ||
        position.shard != deciding->command->shard)
        return 1;
    int code = association_get_by_number(deciding->views, position.sequence,
                                         deciding->arena, found, deciding->err);
    if (code != 0)
        return code;
    return (meant->has_source && meant->source != found->source) ||
           (meant->has_restore && meant->restore != found->restore);
}

/* Which of the two devices is to blame that there is no association of them. */
static int blame_device(struct deciding *deciding, uint32_t source)
{
    struct device device;
    int code =
        device_get(deciding->views, source, deciding->arena, &device, deciding->err);

    if (code < 0)
        return code;
    if (code == 1)
        set_fault(deciding, RETURN_NOT_FOUND, "SourceClientResourceID",
                  "no device with this SourceClientResourceID is registered");
    else
        set_fault(deciding, RETURN_NOT_FOUND, "RestoreClientResourceID",
                  "the source device has no association with this device");
    return 0;
}

int aim_at_source(struct deciding *deciding, uint32_t source)
{
    struct aggregate *aggregate = &deciding->aggregate;

    aggregate->key = device_key(deciding->arena, source);
    aggregate->subject = device_subject(deciding->arena, source);
    if (aggregate->key.data == NULL || aggregate->subject.data == NULL)
        return decide_no_memory(deciding->err);
    return 0;
}

/* With no association: the pair that was named, or the source. */
static int aim_at_nothing(struct deciding *deciding,
                          const struct association_meant *meant)
{
    if (!meant->has_source)
        return 0;
    return meant->has_restore ? aim_at_pair(deciding, meant->source, meant->restore)
                              : aim_at_source(deciding, meant->source);
}

int association_find(struct deciding *deciding)
{
    const struct association_meant meant =
        deciding->method->association(deciding->command->params);
    int code =
        meant.has_migration_id
            ? find_by_id(deciding, &meant)
            : association_get(deciding->views, meant.source, meant.restore,
                              deciding->arena, &deciding->association, deciding->err);

    if (code < 0)
        return code;
    deciding->has_association = code == 0;
    if (deciding->has_association)
        return aim_at_pair(deciding, deciding->association.source,
                           deciding->association.restore);
    if (meant.has_migration_id)
        set_fault(deciding, RETURN_NOT_FOUND, "MigrationID",
                  meant.has_source || meant.has_restore
                      ? "no association has this MigrationID together with the devices "
                        "given"
                      : "no association has this MigrationID");
    code = meant.has_migration_id ? 0 : blame_device(deciding, meant.source);
    return code != 0 ? code : aim_at_nothing(deciding, &meant);
}

/* ---- events ------------------------------------------------------------------------ */

static struct bytes migration_id(struct deciding *deciding, uint64_t number)
{
    const struct position position = {deciding->command->shard, number};

    return position_text(deciding->arena, &position);
}

/* Fills what the events of an association have in common, and their users; false = out of
 * memory. */
#define PUT_PAIR(data, association)                                                      \
    ((data)->source_client_resource_id = (association)->source,                          \
     (data)->restore_client_resource_id = (association)->restore,                        \
     (data)->migration_id = migration_id(deciding, (association)->number),               \
     (data)->migration_id.data != NULL)

#define PUT_USERS(data, association)                                                     \
    ((data)->has_user_names = (association)->user_count > 0,                             \
     (data)->user_names.count = (association)->user_count,                               \
     (data)->user_names.items =                                                          \
         arena_alloc(deciding->arena, ((association)->user_count + 1) *                  \
                                          sizeof(data)->user_names.items[0]),            \
     (data)->user_names.items != NULL)

#define COPY_USERS(data, association)                                                    \
    do {                                                                                 \
        for (size_t i_ = 0; i_ < (association)->user_count; i_++) {                      \
            (data)->user_names.items[i_].locale_id = (association)->users[i_].locale_id; \
            (data)->user_names.items[i_].user_name = (association)->users[i_].name;      \
        }                                                                                \
    } while (0)

int emit_association_added(struct deciding *deciding,
                           const struct association *association)
{
    struct association_added_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL || !PUT_PAIR(data, association) || !PUT_USERS(data, association))
        return decide_no_memory(deciding->err);
    COPY_USERS(data, association);
    data->migration_behavior = association->behavior;
    data->migration_type = association_type(association);
    return emit_about(
        deciding, &association_added_v1_schema,
        pair_subject(deciding->arena, association->source, association->restore), data);
}

static int emit_requested(struct deciding *deciding,
                          const struct association *association)
{
    struct association_requested_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL || !PUT_PAIR(data, association) || !PUT_USERS(data, association))
        return decide_no_memory(deciding->err);
    COPY_USERS(data, association);
    data->migration_behavior = association->behavior;
    data->migration_type = association_type(association);
    data->object = device_key(deciding->arena, association->restore);
    if (data->object.data == NULL)
        return decide_no_memory(deciding->err);
    int code = request_timeout(deciding, &data->timeout_seconds);
    return code != 0 ? code : emit(deciding, &association_requested_v1_schema, data);
}

static int emit_changed(struct deciding *deciding, const struct association *association)
{
    struct association_changed_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL || !PUT_PAIR(data, association) || !PUT_USERS(data, association))
        return decide_no_memory(deciding->err);
    COPY_USERS(data, association);
    data->migration_behavior = association->behavior;
    return emit(deciding, &association_changed_v1_schema, data);
}

int emit_association_deleted(struct deciding *deciding,
                             const struct association *association, const char *reason)
{
    struct association_deleted_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL || !PUT_PAIR(data, association))
        return decide_no_memory(deciding->err);
    data->reason = bytes_str(reason);
    struct bytes key = device_key(deciding->arena, association->source);
    struct bytes subject =
        pair_subject(deciding->arena, association->source, association->restore);
    return emit_with(deciding, &association_deleted_v1_schema, key, subject, data);
}

/* By its own side: a reference that this shard keeps is not needed any more; another
 * shard is told. */
static int end_association(struct deciding *deciding,
                           const struct association *association, const char *reason)
{
    const struct position request = {deciding->command->shard, association->number};
    int code = 0;

    if (association->restore != association->source &&
        is_local_device(deciding, association->restore))
        code = emit_reference_released(deciding, &request, association->restore);
    return code != 0 ? code : emit_association_deleted(deciding, association, reason);
}

int end_associations_of_source(struct deciding *deciding, uint32_t source)
{
    struct association_scan *scan = NULL;
    struct association association;
    int code = association_scan_open(deciding->views, source, &scan, deciding->err);

    while (code == 0 &&
           (code = association_scan_next(scan, &association, deciding->err)) == 0)
        code = end_association(deciding, &association, "source_removed");
    association_scan_close(scan);
    return code < 0 ? code : 0;
}

/* ---- AddAssociation ---------------------------------------------------------------- */

/* 0, or ERROR_NO_MEMORY: the forms for comparison of all names, in the arena. */
static int fold_users(struct deciding *deciding, const struct users *users,
                      struct bytes **ret_folded)
{
    struct bytes *folded =
        arena_alloc(deciding->arena, (users->count + 1) * sizeof *folded);
    struct buf name = BUF_INIT;
    int code = 0;

    if (folded == NULL) {
        (void)decide_no_memory(deciding->err);
        return ERROR_NO_MEMORY;
    }
    for (size_t i = 0; code == 0 && i < users->count; i++) {
        buf_clear(&name);
        if (user_name_fold(users->items[i].name, &name) != 0)
            code = decide_no_memory(deciding->err);
        else
            folded[i] = arena_copy(deciding->arena, buf_bytes(&name));
        if (code == 0 && folded[i].data == NULL)
            code = decide_no_memory(deciding->err);
    }
    buf_release(&name);
    *ret_folded = folded;
    return code;
}

static size_t place_of(const struct bytes *folded, size_t count, struct bytes name)
{
    size_t place = 0;

    while (place < count && !bytes_equal(folded[place], name))
        place++;
    return place;
}

/* 1 = the same users with the same locales, in whatever order. */
static int are_same_users(struct deciding *deciding, const struct users *one,
                          const struct users *other)
{
    struct bytes *ones, *others;

    if (one->count != other->count)
        return 0;
    int code = fold_users(deciding, one, &ones);
    if (code == 0)
        code = fold_users(deciding, other, &others);
    if (code != 0)
        return code;
    for (size_t i = 0; i < one->count; i++) {
        size_t place = place_of(others, other->count, ones[i]);
        if (place == other->count ||
            other->items[place].locale_id != one->items[i].locale_id)
            return 0;
    }
    return 1;
}

static struct users users_of(const struct association *association)
{
    return (struct users){association->users, association->user_count};
}

/* The pair is associated: with the same content that is no fault (decision D7). */
static int add_again(struct deciding *deciding, uint32_t behavior,
                     const struct users *users)
{
    const struct association *present = &deciding->association;
    const struct users present_users = users_of(present);

    if (present->pending)
        return refuse(deciding, RETURN_ALREADY_EXISTS, "RestoreClientResourceID",
                      "an association of these devices is being added");
    int same = present->behavior == behavior
                   ? are_same_users(deciding, &present_users, users)
                   : 0;
    if (same < 0)
        return same;
    if (same == 0)
        return refuse(deciding, RETURN_ALREADY_EXISTS, "RestoreClientResourceID",
                      "these devices are associated with another behavior or other "
                      "users: send ChangeAssociation to change that");
    struct bytes id = migration_id(deciding, present->number);
    return id.data == NULL ? decide_no_memory(deciding->err)
                           : unchanged_text(deciding, "MigrationID", id);
}

/* 1 = another association of the source is in the way (decision D8). */
static int is_excluded(struct deciding *deciding, const struct association *wanted)
{
    struct association_scan *scan = NULL;
    struct association other;
    bool excluded = false;
    int code =
        association_scan_open(deciding->views, wanted->source, &scan, deciding->err);

    while (code == 0 && !excluded) {
        code = association_scan_next(scan, &other, deciding->err);
        excluded = code == 0 && other.restore != wanted->restore &&
                   (wanted->behavior == CAPTURE_AND_RESTORE_SPECIFIED ||
                    other.behavior == CAPTURE_AND_RESTORE_SPECIFIED);
    }
    association_scan_close(scan);
    return code < 0 ? code : excluded;
}

static int refuse_excluded(struct deciding *deciding, const char *parameter)
{
    return refuse(deciding, RETURN_ALREADY_EXISTS, parameter,
                  "the source has another association, and one of them has "
                  "MigrationBehavior 2, which allows no second");
}

static int register_unknown_devices(struct deciding *deciding, uint32_t source,
                                    uint32_t restore)
{
    int code = deciding->stub_source ? register_unknown_device(deciding, source) : 0;

    if (code == 0 && deciding->stub_restore)
        code = register_unknown_device(deciding, restore);
    return code;
}

static int emit_new(struct deciding *deciding, const struct association *wanted)
{
    const struct position request = {deciding->command->shard, wanted->number};
    int code = register_unknown_devices(deciding, wanted->source, wanted->restore);

    if (code != 0)
        return code;
    if (wanted->restore == wanted->source)
        return emit_association_added(deciding, wanted);
    if (!is_local_device(deciding, wanted->restore))
        return emit_requested(deciding, wanted);
    code = emit_reference_added(deciding, &request, wanted->restore);
    return code != 0 ? code : emit_association_added(deciding, wanted);
}

/* parameter: what to blame if a behavior excludes the association. */
static int add(struct deciding *deciding, struct association *wanted,
               const struct users *users, const char *parameter)
{
    struct users kept = *users;

    if (wanted->behavior == CAPTURE_AND_RESTORE_ALL)
        kept.count = 0; /* it ignores the list */
    if (deciding->has_association)
        return add_again(deciding, wanted->behavior, &kept);
    int excluded = is_excluded(deciding, wanted);
    if (excluded < 0)
        return excluded;
    if (excluded == 1)
        return refuse_excluded(deciding, parameter);
    wanted->number = deciding->command->sequence;
    wanted->user_count = kept.count;
    wanted->users = arena_alloc(deciding->arena, (kept.count + 1) * sizeof kept.items[0]);
    if (wanted->users == NULL)
        return decide_no_memory(deciding->err);
    for (size_t i = 0; i < kept.count; i++)
        wanted->users[i] = kept.items[i];
    return emit_new(deciding, wanted);
}

int add_association_decide(struct deciding *deciding)
{
    const struct add_association_v1 *params = deciding->command->params;
    struct association_user storage[ASSOCIATION_USERS_MAX];
    struct users users;

    USERS_OF(params->user_names, params->has_user_names, storage, &users);
    struct association wanted = {
        .source = params->source_client_resource_id,
        .restore = params->restore_client_resource_id,
        .behavior =
            users.count > 0 ? CAPTURE_AND_RESTORE_SPECIFIED : CAPTURE_AND_RESTORE_ALL,
    };
    return add(deciding, &wanted, &users, "UserNames");
}

int add_association_ex_decide(struct deciding *deciding)
{
    const struct add_association_ex_v1 *params = deciding->command->params;
    struct association_user storage[ASSOCIATION_USERS_MAX];
    struct users users;

    USERS_OF(params->user_names, params->has_user_names, storage, &users);
    struct association wanted = {
        .source = params->source_client_resource_id,
        .restore = params->restore_client_resource_id,
        .behavior = params->migration_behavior,
    };
    return add(deciding, &wanted, &users, "MigrationBehavior");
}

/* ---- ChangeAssociation ------------------------------------------------------------- */

/* The present users without those of `removed`; those of `added` behind, or in the place
 * of the same user. */
static int merge_users(struct deciding *deciding, const struct users *present,
                       const struct users *removed, const struct users *added,
                       struct users *ret_users)
{
    struct bytes *presents, *removeds, *addeds, *folded;
    size_t capacity = present->count + added->count + 1, count = 0;
    struct association_user *items =
        arena_alloc(deciding->arena, capacity * sizeof *items);

    folded = arena_alloc(deciding->arena, capacity * sizeof *folded);
    if (items == NULL || folded == NULL)
        return decide_no_memory(deciding->err);
    int code = fold_users(deciding, present, &presents);
    if (code == 0)
        code = fold_users(deciding, removed, &removeds);
    if (code == 0)
        code = fold_users(deciding, added, &addeds);
    if (code != 0)
        return code;
    for (size_t i = 0; i < present->count; i++) {
        if (place_of(removeds, removed->count, presents[i]) < removed->count)
            continue;
        folded[count] = presents[i];
        items[count++] = present->items[i];
    }
    for (size_t i = 0; i < added->count; i++) {
        size_t place = place_of(folded, count, addeds[i]);
        if (place == count) {
            folded[count] = addeds[i];
            items[count++] = added->items[i];
        }
        items[place].locale_id = added->items[i].locale_id;
    }
    *ret_users = (struct users){items, count};
    return 0;
}

static int wanted_users(struct deciding *deciding, uint32_t behavior,
                        struct users *ret_users)
{
    const struct change_association_v1 *params = deciding->command->params;
    struct association_user *added =
        arena_alloc(deciding->arena, 2 * ASSOCIATION_USERS_MAX * sizeof added[0]);
    const struct users present = users_of(&deciding->association);
    struct users adding, removing;

    *ret_users = (struct users){0};
    if (behavior == CAPTURE_AND_RESTORE_ALL)
        return 0;
    if (added == NULL)
        return decide_no_memory(deciding->err);
    USERS_OF(params->add_user_names, params->has_add_user_names, added, &adding);
    USERS_OF(params->remove_user_names, params->has_remove_user_names,
             added + ASSOCIATION_USERS_MAX, &removing);
    return merge_users(deciding, &present, &removing, &adding, ret_users);
}

/* Judges and appends what the association is to be. */
static int change_to(struct deciding *deciding, uint32_t behavior,
                     const struct users *users)
{
    const struct change_association_v1 *params = deciding->command->params;
    struct association after = deciding->association;
    const struct users present = users_of(&after);
    bool removed = params->has_remove_user_names && params->remove_user_names.count > 0;

    if (behavior != CAPTURE_AND_RESTORE_ALL && users->count == 0)
        return refuse(deciding, RETURN_INVALID_PARAMETER,
                      removed ? "RemoveUserNames" : "AddUserNames", NEEDS_USERS);
    if (users->count > ASSOCIATION_USERS_MAX)
        return refuse(deciding, RETURN_INVALID_PARAMETER, "AddUserNames",
                      "an association has at most 1000 users");
    int same = after.behavior == behavior ? are_same_users(deciding, &present, users) : 0;
    if (same < 0)
        return same;
    if (same == 1)
        return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
    after.behavior = behavior;
    int excluded = is_excluded(deciding, &after);
    if (excluded < 0)
        return excluded;
    if (excluded == 1)
        return refuse_excluded(deciding, "MigrationBehavior");
    after.user_count = users->count;
    after.users = (struct association_user *)users->items;
    return emit_changed(deciding, &after);
}

int change_association_decide(struct deciding *deciding)
{
    const struct change_association_v1 *params = deciding->command->params;
    const struct association *present = &deciding->association;
    uint32_t behavior =
        params->has_migration_behavior ? params->migration_behavior : present->behavior;
    struct users users;

    if (present->pending)
        return refuse_pending(deciding);
    int code = wanted_users(deciding, behavior, &users);
    return code != 0 ? code : change_to(deciding, behavior, &users);
}

/* ---- DeleteAssociation ------------------------------------------------------------- */

int delete_association_decide(struct deciding *deciding)
{
    const struct association *present = &deciding->association;

    if (present->pending)
        return refuse_pending(deciding);
    if (association_in_progress(present))
        return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL,
                      "the migration is in progress: complete its restore, or delete its "
                      "store, first");
    return end_association(deciding, present, "explicit");
}

int refuse_pending(struct deciding *deciding)
{
    return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL,
                  "the association is being added: wait for the answer to that, then "
                  "send this again with a new id");
}
