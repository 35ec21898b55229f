/* decide_internal.h - what the files of decide/ share: the table of methods and the
 * decision at hand.
 *
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_DECIDE_DECIDE_INTERNAL_H
#define AGENT_DECIDE_DECIDE_INTERNAL_H

#include "agent/decide/decide.h"
#include "events/position.h"
#include "projections/association_view.h"
#include "projections/reference_view.h"
#include "projections/replacement_view.h"
#include "projections/request_view.h"

/* Why a command is refused; description NULL = it is not. All text is static. */
struct refusal {
    int32_t return_value;
    const char *parameter; /* NULL = none */
    const char *description;
};

/* What a command is about. */
struct aggregate {
    struct bytes key;     /* may be absent */
    struct bytes subject; /* may be absent */
    uint64_t version;     /* 0 = it does not exist */
};

/* A list of numbers; borrowed. */
struct numbers {
    const uint32_t *items;
    size_t count;
};

/* Whom an instance method means: by number, by device and name, or both. */
struct instance {
    bool has_relationship_resource_id;
    uint32_t relationship_resource_id;
    bool has_resource_id;
    uint32_t resource_id;
    bool has_unique_user_name;
    struct bytes unique_user_name;
};

/* Which association a method means: by its MigrationID, by the two devices, or both. */
struct association_meant {
    bool has_migration_id;
    struct bytes migration_id;
    bool has_source;
    uint32_t source;
    bool has_restore;
    uint32_t restore;
};

/* What a command between shards is about. */
struct reference_terms {
    struct bytes request; /* "<shard>-<sequence>" */
    struct bytes object;  /* a record key */
};

/* What of the parameters tells record key and shard; all zero = no key, and the shard
 * where the command lies. */
struct route {
    uint32_t resource_id; /* 0 = none */
    /* 0 = none; for the shard it goes before the device */
    uint32_t relationship_resource_id;
    bool policy;
    bool here; /* the shard where the command lies, whatever its key */
    /* likewise before the device: 1 + the number of a shard, 0 = none */
    uint64_t shard_plus_1;
};

enum sender {
    SENDER_ANYONE,
    SENDER_AGENTS, /* of this log */
    SENDER_OWNER   /* of this shard, now */
};

struct deciding;
struct usage;

/* One command: parameters -> route; views -> aggregate and what is missing; views ->
 * events. */
struct method {
    const struct schema *schema;
    enum sender sender;
    /* NULL, or the faults that the schema cannot tell. */
    struct param_fault (*check)(const void *params);
    struct route (*route)(const void *params); /* NULL = here */
    /* Instance methods: whom they mean; NULL for others. */
    struct instance (*instance)(const void *params);
    /* Likewise the methods of an association; with `source_alone` the source will do. */
    struct association_meant (*association)(const void *params);
    bool source_alone;
    /* Looks up what the command is about: sets aggregate and, if something that it refers
     * to is missing, fault. NULL = nothing. */
    int (*find)(struct deciding *deciding);
    /* Judges the state and appends the events. */
    int (*decide)(struct deciding *deciding);
};

struct deciding {
    struct views *views;
    const struct command *command;
    const struct method *method;
    struct decision *decision;
    struct arena *arena; /* the decision's */
    struct error *err;

    /* Set by find(). */
    struct aggregate aggregate;
    struct refusal fault;
    bool has_device;
    struct device device;
    bool has_relationship;
    struct relationship relationship;
    const struct usage *usage;             /* NULL = none was reported yet */
    const struct policy_name *policy_name; /* NULL = unknown */
    struct policy policy;
    bool has_association;
    struct association association;
    bool stub_source, stub_restore; /* devices to be registered as unknown ones */
    uint64_t request_number;        /* 0 = of another shard */
    struct request request;
    struct replacement replacement; /* that the request is for */

    uint32_t created; /* relationships in this decision, all of one slot */
};

int decide_no_memory(struct error *err);
/* text: NULL = no fault. */
struct param_fault fault_of(const char *parameter, const char *text);

/* Text in the arena; absent when memory is out. */
struct bytes device_key(struct arena *arena, uint32_t resource_id);
struct bytes device_subject(struct arena *arena, uint32_t resource_id);
struct bytes position_text(struct arena *arena, const struct position *position);
struct bytes relationship_subject(struct arena *arena, uint32_t resource_id,
                                  uint32_t relationship_resource_id);

/* Zeroed memory in the arena for the struct of an event. NULL = out of memory. */
void *event_data(struct deciding *deciding, size_t size);
/* Appends an event of the aggregate at hand, or of another subject with the same key. */
int emit(struct deciding *deciding, const struct schema *schema, const void *data);
int emit_about(struct deciding *deciding, const struct schema *schema,
               struct bytes subject, const void *data);
/* Likewise, with a key of its own, too; of a device: with that device's. */
int emit_with(struct deciding *deciding, const struct schema *schema, struct bytes key,
              struct bytes subject, const void *data);
int emit_of_device(struct deciding *deciding, const struct schema *schema,
                   uint32_t resource_id, const void *data);
/* Appends a CommandUnchanged. out: name of the one out parameter, NULL = none. */
int unchanged(struct deciding *deciding, const char *out, uint64_t value,
              bool deprecated_source);
/* The same with a text as out parameter (no character that JSON escapes). */
int unchanged_text(struct deciding *deciding, const char *out, struct bytes value);
/* The name of a command's method for people, "-" for a type that is not known. */
const char *operation_of(struct bytes command_type);
/* Appends a CommandRejected. */
int refuse(struct deciding *deciding, int32_t return_value, const char *parameter,
           const char *description);
/* Notes in find() that something referred to is missing or wrong. */
void set_fault(struct deciding *deciding, int32_t return_value, const char *parameter,
               const char *description);

/* ---- device.c ---------------------------------------------------------------------- */

struct route register_device_route(const void *params);
struct route remove_device_route(const void *params);
int register_device_find(struct deciding *deciding);
int remove_device_find(struct deciding *deciding);
int register_device_decide(struct deciding *deciding);
int remove_device_decide(struct deciding *deciding);
/* Sets device and the aggregate of a device that may not exist. */
int find_device(struct deciding *deciding, uint32_t resource_id);
/* Appends DeviceRemoved. */
int emit_device_removed(struct deciding *deciding, uint32_t resource_id);
/* Registers a device of which only the id is known (policy devices.unknown = stub). */
int register_unknown_device(struct deciding *deciding, uint32_t resource_id);
/* The site's policy for a device that nobody registered, which `parameter` names: set_fault
 * or *ret_stub. */
int judge_unknown_device(struct deciding *deciding, const char *parameter,
                         const char *description, bool *ret_stub);

/* ---- relationship.c ---------------------------------------------------------------- */

/* What is wanted of the relationship of a user and a device. */
struct vouching {
    uint32_t resource_id;
    struct bytes unique_user_name;
    struct numbers sources;
    struct numbers types;
    bool has_creation_time; /* it began elsewhere; else it begins now */
    int64_t creation_time_ms;
};
/* Sets device and relationship of a pair that need not exist; without a device, and where
 * the site does not take unknown ones, a fault of parameter. */
int find_pair(struct deciding *deciding, uint32_t resource_id, struct bytes user_name,
              const char *parameter);
/* Appends what it takes that the sources, each of them, vouch for the relationship at
 * hand: nothing if they do already. 1 = it cannot be created, all numbers of the device's
 * slot are used up. */
int vouch(struct deciding *deciding, const struct vouching *vouching);
int refuse_used_up(struct deciding *deciding);
/* Merges what another device had into the relationship at hand, whatever needs approval
 * now; a new one waits if `pending`. As vouch(). */
int adopt(struct deciding *deciding, const struct vouching *vouching, bool pending);
/* 0, 1 = the slot of the device with this record key has not so many numbers left, or
 * negative. */
int has_numbers(struct deciding *deciding, struct bytes key, uint32_t count);
/* Takes sources away from the relationship at hand; with the last one it ends. */
int withdraw(struct deciding *deciding, struct numbers sources);
/* Adds types to the relationship at hand. */
int add_types(struct deciding *deciding, struct numbers types);
bool holds(struct numbers numbers, uint32_t value);

struct param_fault create_relationship_check(const void *params);
struct route create_relationship_route(const void *params);
int create_relationship_find(struct deciding *deciding);
int create_relationship_decide(struct deciding *deciding);

struct instance add_source_instance(const void *params);
struct instance remove_source_instance(const void *params);
struct instance add_type_instance(const void *params);
struct instance remove_type_instance(const void *params);
struct instance delete_relationship_instance(const void *params);
struct instance approve_relationship_instance(const void *params);
struct instance deny_relationship_instance(const void *params);
struct param_fault instance_check(const struct instance *instance);
int instance_find(struct deciding *deciding);
int add_source_decide(struct deciding *deciding);
int remove_source_decide(struct deciding *deciding);
int add_type_decide(struct deciding *deciding);
int remove_type_decide(struct deciding *deciding);
int delete_relationship_decide(struct deciding *deciding);
/* Appends the end of one relationship; reason is static. */
int emit_relationship_deleted(struct deciding *deciding,
                              const struct relationship *relationship,
                              const char *reason);
/* Likewise: it goes on with the new device, by the replacement that `request` names. */
int emit_relationship_moved(struct deciding *deciding,
                            const struct relationship *relationship, uint32_t new_device,
                            struct bytes request);

/* ---- approval.c -------------------------------------------------------------------- */

/* Does each of the sources wait for approval by the site's policy? */
int need_approval(struct deciding *deciding, struct numbers sources, bool *ret_need);
int emit_approval_requested(struct deciding *deciding, const struct vouching *vouching,
                            uint32_t number);
int approve_relationship_decide(struct deciding *deciding);
int deny_relationship_decide(struct deciding *deciding);

/* ---- usage.c ----------------------------------------------------------------------- */

struct param_fault report_usage_check(const void *params);
struct route report_usage_route(const void *params);
int report_usage_find(struct deciding *deciding);
int report_usage_decide(struct deciding *deciding);
/* The timer of one user on one device is due; name: behind its prefix. */
int usage_timer_decide(struct deciding *deciding, struct bytes name);
/* ---- association.c ----------------------------------------------------------------- */

struct param_fault add_association_check(const void *params);
struct param_fault add_association_ex_check(const void *params);
struct route add_association_route(const void *params);
struct route add_association_ex_route(const void *params);
int add_association_find(struct deciding *deciding);
int add_association_ex_find(struct deciding *deciding);
int add_association_decide(struct deciding *deciding);
int add_association_ex_decide(struct deciding *deciding);

struct association_meant delete_association_meant(const void *params);
struct association_meant change_association_meant(const void *params);
struct param_fault association_check(const struct association_meant *meant,
                                     bool source_alone);
struct param_fault change_association_check(const void *params);
/* The association that is meant, with its aggregate; fault if there is none. */
int association_find(struct deciding *deciding);
int change_association_decide(struct deciding *deciding);
int delete_association_decide(struct deciding *deciding);

/* A device that a new association is to have, as find() looks it up. */
int find_association_device(struct deciding *deciding, uint32_t resource_id,
                            const char *parameter, bool *ret_stub);
/* Makes the source device the aggregate, where no one association is meant. */
int aim_at_source(struct deciding *deciding, uint32_t source);
/* Makes the pair the aggregate, whether it is associated or not. */
int aim_at_pair(struct deciding *deciding, uint32_t source, uint32_t restore);
/* Appends AssociationAdded. */
int emit_association_added(struct deciding *deciding,
                           const struct association *association);
/* Appends AssociationDeleted. reason is static. */
int emit_association_deleted(struct deciding *deciding,
                             const struct association *association, const char *reason);
/* What RemoveDevice ends: all with this source. */
int end_associations_of_source(struct deciding *deciding, uint32_t source);
/* Appends the refusal of whatever cannot be done while the association is pending. */
int refuse_pending(struct deciding *deciding);
/* Does the shard at hand have the device, by its id alone? */
bool is_local_device(const struct deciding *deciding, uint32_t resource_id);

/* ---- migration.c ------------------------------------------------------------------- */

struct association_meant start_capture_meant(const void *params);
struct association_meant complete_capture_meant(const void *params);
struct association_meant complete_restore_meant(const void *params);
struct association_meant delete_store_meant(const void *params);
int start_capture_find(struct deciding *deciding);
int start_capture_decide(struct deciding *deciding);
int complete_capture_decide(struct deciding *deciding);
int complete_restore_decide(struct deciding *deciding);
int delete_store_decide(struct deciding *deciding);

struct param_fault get_encrypt_decrypt_key_check(const void *params);
struct association_meant get_encrypt_decrypt_key_meant(const void *params);
int get_encrypt_decrypt_key_decide(struct deciding *deciding);

/* ---- conversation.c ---------------------------------------------------------------- */

struct param_fault request_reference_check(const void *params);
struct param_fault confirm_reference_check(const void *params);
struct param_fault refuse_reference_check(const void *params);
struct param_fault release_reference_check(const void *params);
struct param_fault end_reference_check(const void *params);
struct route request_reference_route(const void *params);
struct route confirm_reference_route(const void *params);
struct route refuse_reference_route(const void *params);
struct route release_reference_route(const void *params);
struct route end_reference_route(const void *params);
int request_reference_find(struct deciding *deciding);
int confirm_reference_find(struct deciding *deciding);
int refuse_reference_find(struct deciding *deciding);
int release_reference_find(struct deciding *deciding);
int end_reference_find(struct deciding *deciding);
struct param_fault adopt_relationship_check(const void *params);
struct param_fault end_adoption_check(const void *params);
struct param_fault confirm_adoption_check(const void *params);
struct route adopt_relationship_route(const void *params);
struct route end_adoption_route(const void *params);
struct route confirm_adoption_route(const void *params);
int adopt_relationship_find(struct deciding *deciding);
int end_adoption_find(struct deciding *deciding);
int confirm_adoption_find(struct deciding *deciding);
int request_reference_decide(struct deciding *deciding);
int confirm_reference_decide(struct deciding *deciding);
int refuse_reference_decide(struct deciding *deciding);
int release_reference_decide(struct deciding *deciding);
int end_reference_decide(struct deciding *deciding);
/* A request whose time is over; name is what follows REQUEST_TIMER. */
int time_out_request(struct deciding *deciding, struct bytes name);

/* Seconds that a request made now has (policy requests.timeout). */
int request_timeout(struct deciding *deciding, uint32_t *ret_seconds);
/* Appends ReferenceAdded and ReferenceReleased of a device of this shard. */
int emit_reference_added(struct deciding *deciding, const struct position *request,
                         uint32_t resource_id);
int emit_reference_released(struct deciding *deciding, const struct position *request,
                            uint32_t resource_id);
/* What RemoveDevice ends: all references to it, those of this shard with what rests on
 * them. */
int end_references(struct deciding *deciding, uint32_t resource_id);
/* Who refers to a device: REFERENCE_NONE, REFERENCE_HELD, or, if one of several is that,
 * REFERENCE_ADOPTING. */
int references_to(struct deciding *deciding, uint32_t resource_id,
                  enum reference_state *ret_state);

/* ---- replacement.c ----------------------------------------------------------------- */

struct param_fault replace_device_check(const void *params);
struct route replace_device_route(const void *params);
int replace_device_find(struct deciding *deciding);
int replace_device_decide(struct deciding *deciding);
struct param_fault adopted_relationship_check(const void *params);
int adopt_relationship_decide(struct deciding *deciding);
int end_adoption_decide(struct deciding *deciding);
int confirm_adoption_decide(struct deciding *deciding);
/* Why a device cannot be replaced now; description NULL = it can. */
int judge_replacement(struct deciding *deciding, uint32_t old_device,
                      struct refusal *ret_refusal);
/* Likewise: why it cannot be removed, with Force neither, as long as a replacement is under
 * way. */
int judge_removal(struct deciding *deciding, uint32_t resource_id,
                  struct refusal *ret_refusal);
/* Appends what the replacement of the request at hand makes of the old device. */
int give_up_device(struct deciding *deciding);

/* ---- policy.c ---------------------------------------------------------------------- */

#define APPROVAL_SOURCES "approval.sources"
#define REQUESTS_TIMEOUT "requests.timeout"
#define USAGE_DAYS "usage.days"
#define USAGE_MINUTES "usage.minutes"

/* The present value of a policy that is a number. */
int policy_number(struct deciding *deciding, const char *name, uint32_t *ret_number);
struct route set_policy_route(const void *params);
struct route adopt_policy_route(const void *params);
int set_policy_find(struct deciding *deciding);
int adopt_policy_find(struct deciding *deciding);
int set_policy_decide(struct deciding *deciding);
int adopt_policy_decide(struct deciding *deciding);
/* Does the site's policy let keys be sealed for this public key (keys.recipients)? */
int may_receive_keys(struct deciding *deciding, struct bytes public_key, bool *ret_may);

/* ---- timer.c ----------------------------------------------------------------------- */

int tick_decide(struct deciding *deciding);

/* One kind of timer: names begin with the prefix; decide() gets the rest, and appends at
 * least one event, which clears the timer. */
struct timer_kind {
    const char *prefix;
    int (*decide)(struct deciding *deciding, struct bytes name);
};

#endif
