/* conversation.c - what one shard asks of another: a decision reads its own shard only
 * (design section 4; docs/conversations.md has a picture).
 *
 *     asking shard                                   shard of the object
 *     ...Requested     -- RequestReference -->       ReferenceAdded | ReferenceRefused
 *     concluded        <-- Confirm-, RefuseReference --
 *     ended, timed out -- ReleaseReference -->       ReferenceReleased
 *     ended            <-- EndReference --           ReferenceEnded (the object is removed)
 *
 * Each message may come twice, late, or in another order. Which events make which message
 * leave stands in agent/shard/followup.c; what is asked for, in the table of kinds here.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include "agent/planted.h"
#include "schemas/commands.h"
#include "schemas/events.h"

#define STATUS_TIMEOUT 3 /* in ExtendedStatus; domain.md 8.1 */

/* ---- the kinds --------------------------------------------------------------------- */

/* The request's association is at hand. */
static struct bytes object_of_association(struct deciding *deciding)
{
    return device_key(deciding->arena, deciding->association.restore);
}

static int confirm_association(struct deciding *deciding)
{
    return emit_association_added(deciding, &deciding->association);
}

static int find_association_of_request(struct deciding *deciding)
{
    int code =
        association_get_by_number(deciding->views, deciding->request_number,
                                  deciding->arena, &deciding->association, deciding->err);

    if (code != 0)
        return code < 0 ? code : 0;
    deciding->has_association = true;
    return aim_at_pair(deciding, deciding->association.source,
                       deciding->association.restore);
}

static int end_association_of_request(struct deciding *deciding)
{
    return deciding->has_association
               ? emit_association_deleted(deciding, &deciding->association,
                                          "restore_removed")
               : 0;
}

static struct bytes object_of_replacement(struct deciding *deciding)
{
    return device_key(deciding->arena, deciding->replacement.new_device);
}

static int find_replacement_of_request(struct deciding *deciding)
{
    int code = replacement_get(deciding->views, deciding->request_number,
                               &deciding->replacement, deciding->err);

    if (code != 0)
        return code < 0 ? code : 0;
    return find_device(deciding, deciding->replacement.old_device);
}

static int judge_replacement_of_request(struct deciding *deciding,
                                        struct refusal *ret_refusal)
{
    return judge_replacement(deciding, deciding->replacement.old_device, ret_refusal);
}

/* What a shard may ask for, and what it does with the outcome. */
static const struct kind {
    const char *parameter; /* which the refusal of the command names */
    /* The object that was asked for, by its record key; absent = out of memory. */
    struct bytes (*object)(struct deciding *deciding);
    /* Sets aggregate and what rests on the request, if that is there still. */
    int (*find)(struct deciding *deciding);
    /* What stands in the way by now; NULL = nothing can. */
    int (*judge)(struct deciding *deciding, struct refusal *ret_refusal);
    /* It is granted: appends the event that concludes the request, or moves it on. */
    int (*confirm)(struct deciding *deciding);
    /* Ends what rests on it: the object is gone. Appends nothing if nothing does. NULL: such
     * an object is not removed. */
    int (*end)(struct deciding *deciding);
} kinds[] = {
    [REQUEST_OF_ASSOCIATION] =
        {
            .parameter = "RestoreClientResourceID",
            .object = object_of_association,
            .find = find_association_of_request,
            .confirm = confirm_association,
            .end = end_association_of_request,
        },
    [REQUEST_OF_REPLACEMENT] =
        {
            .parameter = "NewResourceID",
            .object = object_of_replacement,
            .find = find_replacement_of_request,
            .judge = judge_replacement_of_request,
            .confirm = give_up_device,
        },
};

static const struct kind *kind_at_hand(const struct deciding *deciding)
{
    return &kinds[deciding->request.kind];
}

/* ---- the parameters ---------------------------------------------------------------- */

/* The commands are alike in what they are about. */
#define COMMAND_BETWEEN_SHARDS(method, route_, find_)                                    \
    static struct reference_terms method##_terms(const void *params)                     \
    {                                                                                    \
        const struct method##_v1 *wanted = params;                                       \
                                                                                         \
        return (struct reference_terms){wanted->request, wanted->object};                \
    }                                                                                    \
    struct param_fault method##_check(const void *params)                                \
    {                                                                                    \
        return check_terms(method##_terms(params));                                      \
    }                                                                                    \
    struct route method##_route(const void *params)                                      \
    {                                                                                    \
        return route_(method##_terms(params));                                           \
    }                                                                                    \
    int method##_find(struct deciding *deciding)                                         \
    {                                                                                    \
        return find_(deciding, method##_terms(deciding->command->params));               \
    }

static struct param_fault check_terms(struct reference_terms terms)
{
    struct position position;

    if (!position_parse(terms.request, &position))
        return fault_of("Request", "a request is named <shard>-<sequence>");
    if (device_of_object(terms.object) == 0)
        return fault_of("Object", "an object is named device:<ResourceID>");
    return (struct param_fault){0};
}

static struct route route_to_object(struct reference_terms terms)
{
    return (struct route){.resource_id = device_of_object(terms.object)};
}

static struct route route_to_asking(struct reference_terms terms)
{
    struct position position = {0};

    (void)position_parse(terms.request, &position); /* checked before */
    return (struct route){.shard_plus_1 = (uint64_t)position.shard + 1};
}

/* ---- at the object's shard --------------------------------------------------------- */

/* Agents never let a shard ask itself, nor one that the log does not have. Whoever does has
 * an agent's name only, and could break what this shard has decided by itself. */
static bool is_of_another_shard(const struct deciding *deciding, struct bytes request)
{
    const struct command *command = deciding->command;
    struct position position = {0};

    (void)position_parse(request, &position); /* checked before */
    return position.shard != command->shard && position.shard < command->shards;
}

static int find_object(struct deciding *deciding, struct reference_terms terms)
{
    int code = find_device(deciding, device_of_object(terms.object));

    deciding->aggregate.version = 0; /* references are no part of the device */
    if (!is_of_another_shard(deciding, terms.request))
        set_fault(deciding, RETURN_ACCESS_DENIED, NULL,
                  "only another shard of this log asks for a reference");
    return code;
}

COMMAND_BETWEEN_SHARDS(request_reference, route_to_object, find_object)
COMMAND_BETWEEN_SHARDS(release_reference, route_to_object, find_object)
COMMAND_BETWEEN_SHARDS(adopt_relationship, route_to_object, find_object)
COMMAND_BETWEEN_SHARDS(end_adoption, route_to_object, find_object)

static int reference_state(struct deciding *deciding, struct reference_terms terms,
                           enum reference_state *ret_state)
{
    struct position position = {0};
    struct reference reference;

    (void)position_parse(terms.request, &position); /* checked before */
    int code = reference_get(deciding->views, terms.object, &position, &reference,
                             deciding->err);
    *ret_state = reference.state;
    return code < 0 ? code : 0;
}

static int emit_added(struct deciding *deciding, struct reference_terms terms,
                      struct bytes kind)
{
    struct reference_added_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = terms.request;
    data->kind = kind;
    data->object = terms.object;
    return emit_of_device(deciding, &reference_added_v1_schema,
                          device_of_object(terms.object), data);
}

static int emit_refused(struct deciding *deciding, struct reference_terms terms,
                        int32_t return_value, const char *description)
{
    struct reference_refused_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = terms.request;
    data->object = terms.object;
    data->return_value = return_value;
    data->description = bytes_str(description);
    return emit(deciding, &reference_refused_v1_schema, data);
}

static int emit_released(struct deciding *deciding, struct reference_terms terms)
{
    struct reference_released_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = terms.request;
    data->object = terms.object;
    return emit_of_device(deciding, &reference_released_v1_schema,
                          device_of_object(terms.object), data);
}

static int nothing_to_do(struct deciding *deciding)
{
    return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
}

int request_reference_decide(struct deciding *deciding)
{
    const struct request_reference_v1 *params = deciding->command->params;
    const struct reference_terms terms = request_reference_terms(params);
    enum reference_state state;
    bool stub = deciding->has_device;
    int code = reference_state(deciding, terms, &state);

    if (code != 0)
        return code;
    if (reference_is_held(state))
        return nothing_to_do(deciding);
    if (state == REFERENCE_RELEASED)
        return emit_refused(deciding, terms, RETURN_OTHER_FAILURE,
                            "the request was given up before it arrived");
    if (!deciding->has_device) {
        code = judge_unknown_device(deciding, NULL, "", &stub);
        if (code == 0 && stub)
            code = register_unknown_device(deciding, device_of_object(terms.object));
    }
    if (code != 0)
        return code;
    if (!stub)
        return emit_refused(deciding, terms, RETURN_NOT_FOUND,
                            "no device with this id is registered; send RegisterDevice "
                            "first");
    return emit_added(deciding, terms, params->kind);
}

int release_reference_decide(struct deciding *deciding)
{
    const struct reference_terms terms =
        release_reference_terms(deciding->command->params);
    enum reference_state state;
    struct receipt receipt;
    int code = reference_state(deciding, terms, &state);

    if (code != 0)
        return code;
    if (reference_is_held(state))
        return emit_released(deciding, terms);
    if (state == REFERENCE_RELEASED)
        return nothing_to_do(deciding);
    /* One that was asked for, and refused or ended, is not asked for again; one that was
     * not is still to come. */
    code = receipt_find(deciding->views, deciding->command->source, terms.request,
                        BYTES_ABSENT, &receipt, deciding->err);
    if (code != 0)
        return code;
    return receipt.match == RECEIPT_NONE && !PLANTED(request_early_release_forgotten)
               ? emit_released(deciding, terms)
               : nothing_to_do(deciding);
}

/* The name of a device of this shard as an object, with the name of a request. */
static int terms_of(struct deciding *deciding, const struct position *request,
                    uint32_t resource_id, struct reference_terms *ret_terms)
{
    ret_terms->request = position_text(deciding->arena, request);
    ret_terms->object = device_key(deciding->arena, resource_id);
    return ret_terms->request.data == NULL || ret_terms->object.data == NULL
               ? decide_no_memory(deciding->err)
               : 0;
}

int emit_reference_added(struct deciding *deciding, const struct position *request,
                         uint32_t resource_id)
{
    struct reference_terms terms;
    int code = terms_of(deciding, request, resource_id, &terms);

    return code != 0 ? code : emit_added(deciding, terms, bytes_str("association"));
}

int emit_reference_released(struct deciding *deciding, const struct position *request,
                            uint32_t resource_id)
{
    struct reference_terms terms;
    int code = terms_of(deciding, request, resource_id, &terms);

    return code != 0 ? code : emit_released(deciding, terms);
}

/* ---- when the object is removed ---------------------------------------------------- */

int references_to(struct deciding *deciding, uint32_t resource_id,
                  enum reference_state *ret_state)
{
    struct reference_scan *scan = NULL;
    struct reference reference;
    int code = reference_scan_open(
        deciding->views, device_key(deciding->arena, resource_id), &scan, deciding->err);

    *ret_state = REFERENCE_NONE;
    while (code == 0 && *ret_state != REFERENCE_ADOPTING &&
           (code = reference_scan_next(scan, &reference, deciding->err)) == 0)
        *ret_state = reference.state;
    reference_scan_close(scan);
    return code < 0 ? code : 0;
}

static int emit_ended(struct deciding *deciding, const struct position *request,
                      uint32_t resource_id)
{
    struct reference_ended_v1 *data = event_data(deciding, sizeof *data);
    struct reference_terms terms;
    int code = terms_of(deciding, request, resource_id, &terms);

    if (code != 0)
        return code;
    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = terms.request;
    data->object = terms.object;
    return emit_of_device(deciding, &reference_ended_v1_schema, resource_id, data);
}

/* One whose request was made here ends after what rests on it, at once; the shards of the
 * others are told. */
static int end_reference(struct deciding *deciding, const struct position *request,
                         uint32_t resource_id)
{
    struct association association;

    if (request->shard != deciding->command->shard)
        return emit_ended(deciding, request, resource_id);
    int code = association_get_by_number(deciding->views, request->sequence,
                                         deciding->arena, &association, deciding->err);
    if (code == 0)
        code = emit_association_deleted(deciding, &association, "restore_removed");
    return code != 0 ? code : emit_reference_released(deciding, request, resource_id);
}

int end_references(struct deciding *deciding, uint32_t resource_id)
{
    struct reference_scan *scan = NULL;
    struct reference reference;
    int code = reference_scan_open(
        deciding->views, device_key(deciding->arena, resource_id), &scan, deciding->err);

    while (code == 0 &&
           (code = reference_scan_next(scan, &reference, deciding->err)) == 0)
        code = end_reference(deciding, &reference.request, resource_id);
    reference_scan_close(scan);
    return code < 0 ? code : 0;
}

/* ---- at the asking shard ----------------------------------------------------------- */

static int load_request(struct deciding *deciding, uint64_t number)
{
    int code = request_get(deciding->views, number, deciding->arena, &deciding->request,
                           deciding->err);

    if (code != 0)
        return code < 0 ? code : 0;
    deciding->request_number = number;
    return kind_at_hand(deciding)->find(deciding);
}

static int find_request(struct deciding *deciding, struct reference_terms terms)
{
    struct position position = {0};

    (void)position_parse(terms.request, &position); /* checked before */
    return position.shard == deciding->command->shard
               ? load_request(deciding, position.sequence)
               : 0;
}

COMMAND_BETWEEN_SHARDS(confirm_reference, route_to_asking, find_request)
COMMAND_BETWEEN_SHARDS(refuse_reference, route_to_asking, find_request)
COMMAND_BETWEEN_SHARDS(end_reference, route_to_asking, find_request)
COMMAND_BETWEEN_SHARDS(confirm_adoption, route_to_asking, find_request)

/* How a request was refused; text is borrowed. */
struct refused_outcome {
    const char *reason;
    const char *parameter; /* NULL = the one that asks for the object */
    int32_t return_value;
    int32_t status_code;
    struct bytes description;
};

/* Concludes the request at hand. */
static int emit_request_refused(struct deciding *deciding, struct bytes request,
                                const struct refused_outcome *outcome)
{
    struct request_refused_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = request;
    data->object = kind_at_hand(deciding)->object(deciding);
    if (data->object.data == NULL)
        return decide_no_memory(deciding->err);
    data->command = deciding->request.command_type;
    data->return_value = outcome->return_value;
    data->has_extended_status = true;
    data->extended_status.description = outcome->description;
    data->extended_status.operation =
        bytes_str(operation_of(deciding->request.command_type));
    data->extended_status.has_parameter_info = true;
    data->extended_status.parameter_info =
        bytes_str(outcome->parameter != NULL ? outcome->parameter
                                             : kind_at_hand(deciding)->parameter);
    data->extended_status.status_code = outcome->status_code;
    data->reason = bytes_str(outcome->reason);
    return emit(deciding, &request_refused_v1_schema, data);
}

/* A confirmation that nobody waits for: the other shard is told. */
static int emit_unwanted(struct deciding *deciding, struct reference_terms terms)
{
    struct reference_unwanted_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->request = terms.request;
    data->object = terms.object;
    return emit(deciding, &reference_unwanted_v1_schema, data);
}

/* The other shard keeps the object; it is told if that was for nothing. */
static int confirm(struct deciding *deciding, struct bytes request)
{
    const struct kind *kind = kind_at_hand(deciding);
    struct refusal refusal = {.description = NULL};
    int code = kind->judge != NULL ? kind->judge(deciding, &refusal) : 0;

    if (code != 0)
        return code;
    if (refusal.description == NULL)
        return kind->confirm(deciding);
    const struct refused_outcome outcome = {
        .reason = "refused",
        .parameter = refusal.parameter,
        .return_value = refusal.return_value,
        .status_code = refusal.return_value,
        .description = bytes_str(refusal.description),
    };
    return emit_request_refused(deciding, request, &outcome);
}

int confirm_reference_decide(struct deciding *deciding)
{
    const struct reference_terms terms =
        confirm_reference_terms(deciding->command->params);

    switch (deciding->request.state) {
    case REQUEST_PENDING:
        return confirm(deciding, terms.request);
    case REQUEST_GRANTED:
    case REQUEST_ADDED:
        return nothing_to_do(deciding);
    case REQUEST_REFUSED:
        if (PLANTED(request_confirmed_too_late))
            return kind_at_hand(deciding)->confirm(deciding);
        break;
    case REQUEST_NONE:
        break;
    }
    return emit_unwanted(deciding, terms);
}

int refuse_reference_decide(struct deciding *deciding)
{
    const struct refuse_reference_v1 *params = deciding->command->params;
    const struct refused_outcome outcome = {
        .reason = "refused",
        .return_value = (int32_t)params->return_value,
        .status_code = (int32_t)params->return_value,
        .description = params->description,
    };

    return deciding->request.state == REQUEST_PENDING
               ? emit_request_refused(deciding, params->request, &outcome)
               : nothing_to_do(deciding);
}

int end_reference_decide(struct deciding *deciding)
{
    const struct end_reference_v1 *params = deciding->command->params;
    static const char gone[] = "the device was removed while it was asked for";
    const struct refused_outcome outcome = {
        .reason = "ended",
        .return_value = RETURN_NOT_FOUND,
        .status_code = RETURN_NOT_FOUND,
        .description = bytes_str(gone),
    };

    if (deciding->request.state == REQUEST_PENDING)
        return emit_request_refused(deciding, params->request, &outcome);
    int code =
        deciding->request.state == REQUEST_ADDED && kind_at_hand(deciding)->end != NULL
            ? kind_at_hand(deciding)->end(deciding)
            : 0;
    if (code != 0 || deciding->decision->count > 0)
        return code;
    return nothing_to_do(deciding);
}

/* ---- time -------------------------------------------------------------------------- */

int request_timeout(struct deciding *deciding, uint32_t *ret_seconds)
{
    return policy_number(deciding, REQUESTS_TIMEOUT, ret_seconds);
}

int time_out_request(struct deciding *deciding, struct bytes name)
{
    static const char late[] =
        "the shard of the device did not answer in time: is its agent running? Send the "
        "command again with a new id";
    const struct refused_outcome outcome = {
        .reason = "timeout",
        .return_value = RETURN_OTHER_FAILURE,
        .status_code = STATUS_TIMEOUT,
        .description = bytes_str(late),
    };

    if (name.size != 8)
        return error_set(
            deciding->err, ERROR_CORRUPT,
            "a timer of a request is damaged; `rebuild` makes the views anew");
    const struct position position = {deciding->command->shard, read_u64be(name.data)};
    struct bytes request = position_text(deciding->arena, &position);
    if (request.data == NULL)
        return decide_no_memory(deciding->err);
    int code = load_request(deciding, position.sequence);
    return code != 0 ? code : emit_request_refused(deciding, request, &outcome);
}
