/* approval.c - ApproveRelationship and DenyRelationship: relationships that wait until
 * somebody says yes.
 *
 * The site's policy approval.sources says which sources need approval. A new relationship
 * for which only such sources vouch is there, and active, but waits: it has no type, so
 * that its user is no primary user (decisions D4 and D5). The waiting ends with a type,
 * whoever gives it, or with the relationship. Such sources give no type to a relationship
 * that is there already, either.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#include "agent/decide/decide_internal.h"

#include <string.h>

#include "schemas/events.h"

#define TYPE_PRIMARY 1

static const uint32_t primary[] = {TYPE_PRIMARY};

int need_approval(struct deciding *deciding, struct numbers sources, bool *ret_need)
{
    struct policy policy;
    int code = policy_get(deciding->views, APPROVAL_SOURCES, &policy, deciding->err);
    bool need = true;

    if (code < 0)
        return code;
    /* The value is digits with commas between them. */
    for (size_t i = 0; i < sources.count; i++)
        need = need && strchr(policy.value, (char)('0' + sources.items[i])) != NULL;
    *ret_need = need;
    return 0;
}

int emit_approval_requested(struct deciding *deciding, const struct vouching *vouching,
                            uint32_t number)
{
    struct approval_requested_v1 *data = event_data(deciding, sizeof *data);

    if (data == NULL)
        return decide_no_memory(deciding->err);
    data->relationship_resource_id = number;
    data->resource_id = vouching->resource_id;
    data->unique_user_name = vouching->unique_user_name;
    return emit_about(
        deciding, &approval_requested_v1_schema,
        relationship_subject(deciding->arena, vouching->resource_id, number), data);
}

int approve_relationship_decide(struct deciding *deciding)
{
    const struct relationship *relationship = &deciding->relationship;
    const struct numbers types = {relationship->types, relationship->type_count};

    if (relationship->is_pending)
        return add_types(deciding, (struct numbers){primary, 1});
    if (holds(types, TYPE_PRIMARY))
        return unchanged(deciding, /* out= */ NULL, 0, /* deprecated_source= */ false);
    return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL,
                  "the relationship does not wait for approval; AddType makes its user a "
                  "primary user");
}

int deny_relationship_decide(struct deciding *deciding)
{
    if (deciding->relationship.is_pending)
        return emit_relationship_deleted(deciding, &deciding->relationship, "denied");
    return refuse(deciding, RETURN_OTHER_FAILURE, /* parameter= */ NULL,
                  "the relationship does not wait for approval; DeleteRelationship "
                  "deletes it all the same");
}
