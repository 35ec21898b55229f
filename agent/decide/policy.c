/* policy.c - SetPolicy, which the policy shard decides, and AdoptPolicy, which tells the
 * others.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include <stdio.h>
#include <string.h>

#include "events/secret.h"
#include "projections/usage_view.h"
#include "schemas/commands.h"
#include "schemas/events.h"

#define CORE_RULES "core.rules"
#define DEVICES_UNKNOWN "devices.unknown"
#define KEYS_RECIPIENTS "keys.recipients"
#define TIMEOUT_SECONDS_MAX 3600
#define SOURCE_IDS_MAX 9

_Static_assert(USAGE_DAYS_MAX == 90 && USAGE_DAYS_MAX * DAY_MINUTES == 129600,
               "the texts of the policies usage.days and usage.minutes say so");

struct route set_policy_route(const void *params)
{
    (void)params; /* all policy belongs to one shard */
    return (struct route){.policy = true};
}

struct route adopt_policy_route(const void *params)
{
    (void)params; /* each shard has its own copy to adopt */
    return (struct route){.policy = true, .here = true};
}

/* Is it a decimal number, written without leading zeros? */
static bool read_number(struct bytes value, uint32_t *ret_number)
{
    uint32_t number = 0;

    if (value.size == 0 || value.size > 9 || (value.data[0] == '0' && value.size > 1))
        return false;
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
        number = number * 10 + (uint32_t)(value.data[i] - '0');
    }
    *ret_number = number;
    return true;
}

static bool is_number(struct bytes value, uint32_t low, uint32_t high)
{
    uint32_t number;

    return read_number(value, &number) && number >= low && number <= high;
}

/* A number of rules that this program knows; 0 = anything else. */
static uint32_t rules_number(struct bytes value)
{
    uint32_t number;

    return read_number(value, &number) && number <= RULES_MAX ? number : 0;
}

/* Digits 1 to 9, each once, with commas between them; or nothing. */
static bool is_source_list(struct bytes value)
{
    bool seen[SOURCE_IDS_MAX + 1] = {false};

    if (value.size > 0 && value.size % 2 == 0)
        return false;
    for (size_t i = 0; i < value.size; i++) {
        uint8_t c = value.data[i];
        if (i % 2 == 1 ? c != ',' : c < '1' || c > '9' || seen[c - '0'])
            return false;
        if (i % 2 == 0)
            seen[c - '0'] = true;
    }
    return true;
}

/* Takes the first of a list of texts between commas; false = none is left. */
static bool take_item(struct bytes *list, struct bytes *ret_item)
{
    const uint8_t *comma;

    if (list->data == NULL)
        return false;
    comma = memchr(list->data, ',', list->size);
    if (comma == NULL) {
        *ret_item = *list;
        *list = BYTES_ABSENT;
        return true;
    }
    *ret_item = bytes_of(list->data, (size_t)(comma - list->data));
    *list = bytes_of(comma + 1, list->size - ret_item->size - 1);
    return true;
}

static bool are_recipients(struct bytes list)
{
    uint8_t recipient[RECIPIENT_SIZE];
    struct bytes item;

    if (list.size == 0)
        return true; /* nobody */
    while (take_item(&list, &item)) {
        if (!recipient_parse(item, recipient))
            return false;
    }
    return true;
}

int may_receive_keys(struct deciding *deciding, struct bytes public_key, bool *ret_may)
{
    struct policy policy;
    struct bytes item;
    int code = policy_get(deciding->views, KEYS_RECIPIENTS, &policy, deciding->err);

    if (code < 0)
        return code;
    struct bytes list = bytes_str(policy.value);
    *ret_may = false;
    while (take_item(&list, &item))
        *ret_may |= bytes_equal(item, public_key);
    return 0;
}

/* NULL if the value is allowed. */
static const char *value_fault(const char *name, struct bytes value)
{
    if (strcmp(name, DEVICES_UNKNOWN) == 0) {
        if (bytes_equal_str(value, "refuse") || bytes_equal_str(value, "stub"))
            return NULL;
        return "devices.unknown is either refuse or stub";
    }
    if (strcmp(name, APPROVAL_SOURCES) == 0)
        return is_source_list(value) ? NULL
                                     : "approval.sources is a list of source ids, each "
                                       "once, such as 1,4; empty = none";
    if (strcmp(name, KEYS_RECIPIENTS) == 0)
        return are_recipients(value)
                   ? NULL
                   : "keys.recipients is a list of X25519 public keys, each of 43 "
                     "characters of base64url, separated by commas without blanks";
    if (strcmp(name, REQUESTS_TIMEOUT) == 0)
        return is_number(value, 1, TIMEOUT_SECONDS_MAX)
                   ? NULL
                   : "requests.timeout is a decimal number of seconds from 1 to 3600";
    if (strcmp(name, USAGE_DAYS) == 0)
        return is_number(value, 0, USAGE_DAYS_MAX)
                   ? NULL
                   : "usage.days is a decimal number of days, 0 to 90; 0 = off";
    if (strcmp(name, USAGE_MINUTES) == 0)
        return is_number(value, 0, USAGE_DAYS_MAX * DAY_MINUTES)
                   ? NULL
                   : "usage.minutes is a decimal number of minutes, 0 to 129600; 0 = off";
    if (rules_number(value) != 0)
        return NULL;
    return "core.rules is a decimal number of rules that this version of the agent knows";
}

int policy_number(struct deciding *deciding, const char *name, uint32_t *ret_number)
{
    struct policy policy;
    int code = policy_get(deciding->views, name, &policy, deciding->err);

    if (code < 0)
        return code;
    if (!read_number(bytes_str(policy.value), ret_number))
        return error_set(deciding->err, ERROR_VERSION,
                         "the policy %s is no number; a newer version set it", name);
    return 0;
}

static const struct policy_name *find_name(struct bytes name)
{
    const struct policy_name *entry;

    for (size_t i = 0; (entry = policy_name_at(i)) != NULL; i++) {
        if (bytes_equal_str(name, entry->name))
            return entry;
    }
    return NULL;
}

/* Names are ours, so one that is known may stand in a subject; one that is not may hold
 * anything. */
static int find_policy(struct deciding *deciding, struct bytes name, struct bytes value)
{
    struct aggregate *aggregate = &deciding->aggregate;
    const struct policy_name *known = find_name(name);
    char subject[96];

    aggregate->key = bytes_str("policy");
    if (known == NULL) {
        set_fault(deciding, RETURN_INVALID_PARAMETER, "Name",
                  "there is no policy of this name; `kinlog policy` lists those that "
                  "there are");
        return 0;
    }
    int code = policy_get(deciding->views, known->name, &deciding->policy, deciding->err);
    if (code < 0)
        return code;
    deciding->policy_name = known;
    aggregate->version = deciding->policy.version;
    snprintf(subject, sizeof subject, "policy/%s", known->name);
    aggregate->subject = arena_copy(deciding->arena, bytes_str(subject));
    if (aggregate->subject.data == NULL)
        return decide_no_memory(deciding->err);
    const char *fault = value_fault(known->name, value);
    if (fault != NULL)
        set_fault(deciding, RETURN_INVALID_PARAMETER, "Value", fault);
    return 0;
}

int set_policy_find(struct deciding *deciding)
{
    const struct set_policy_v1 *wanted = deciding->command->params;

    return find_policy(deciding, wanted->name, wanted->value);
}

int adopt_policy_find(struct deciding *deciding)
{
    const struct adopt_policy_v1 *wanted = deciding->command->params;

    return find_policy(deciding, wanted->name, wanted->value);
}

/* Behaviour is never taken back: the log holds decisions of the higher rules. */
static bool lowers_rules(const struct deciding *deciding, struct bytes value)
{
    return strcmp(deciding->policy_name->name, CORE_RULES) == 0 &&
           rules_number(value) < rules_number(bytes_str(deciding->policy.value));
}

static int emit_policy_changed(struct deciding *deciding, struct bytes value,
                               uint64_t revision)
{
    if (lowers_rules(deciding, value))
        return refuse(deciding, RETURN_INVALID_PARAMETER, "Value",
                      "core.rules is only ever raised, and it is higher already");
    struct policy_changed_v1 *data = event_data(deciding, sizeof *data);
    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->name = bytes_str(deciding->policy_name->name);
    data->value = value;
    data->revision = revision;
    return emit(deciding, &policy_changed_v1_schema, data);
}

int set_policy_decide(struct deciding *deciding)
{
    const struct set_policy_v1 *wanted = deciding->command->params;
    uint64_t revision;
    int code = policy_revision(deciding->views, &revision, deciding->err);

    if (code != 0)
        return code;
    if (bytes_equal_str(wanted->value, deciding->policy.value))
        return unchanged(deciding, "Revision", revision, /* deprecated_source= */ false);
    return emit_policy_changed(deciding, wanted->value, revision + 1);
}

int adopt_policy_decide(struct deciding *deciding)
{
    const struct adopt_policy_v1 *wanted = deciding->command->params;
    uint64_t revision;
    int code = policy_revision(deciding->views, &revision, deciding->err);

    if (code != 0)
        return code;
    if (wanted->revision <= revision)
        return unchanged(deciding, "Revision", revision, /* deprecated_source= */ false);
    return emit_policy_changed(deciding, wanted->value, wanted->revision);
}
