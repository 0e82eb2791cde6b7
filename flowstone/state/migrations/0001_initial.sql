create table schedule (
    name text not null primary key,
    target text not null,
    cron text,
    every {float},
    timezone text not null,
    gap text not null,
    fold text not null,
    partition_rule text,
    misfire {json} not null,
    overlap text not null,
    dedupe text not null,
    jitter {float} not null,
    enabled {bool} not null,
    metadata {json} not null,
    version {int} not null,
    definition text not null,
    origin text not null,
    orphaned {bool} not null,
    created_at {instant} not null,
    updated_at {instant} not null,
    accounted_until {instant} not null,
    last_scheduled_for {instant},
    last_manual_ms {int}
) {strict};

create table tick (
    id {id},
    tick_id text not null,
    schedule text not null,
    scheduled_for {instant} not null,
    until {instant},
    count {int} not null,
    manual {bool} not null,
    status text not null,
    reason text,
    run_id text,
    partition text,
    error text,
    blocked_by text,
    at {instant} not null
) {strict};
create unique index tick_tick_id on tick (tick_id);
create index tick_schedule_id on tick (schedule, id desc);
create index tick_range on tick (schedule, until) where until is not null;
create index tick_ahead on tick (schedule, scheduled_for) where manual;

create table sensor (
    name text not null primary key,
    kind text not null,
    type text not null,
    config {json} not null,
    definition text not null,
    definition_version {int} not null,
    interval {float},
    dedupe text not null,
    status text not null,
    reason text,
    faults {json} not null,
    cursor text,
    state_version {int} not null,
    consecutive_failures {int} not null,
    last_epoch {int},
    last_evaluation_at {instant},
    next_poll_at {instant},
    orphaned {bool} not null,
    removed {bool} not null,
    created_at {instant} not null,
    updated_at {instant} not null
) {strict};

create table evaluation (
    id {id},
    eval_id text not null,
    eval_key text not null,
    sensor text not null,
    trigger text not null,
    status text not null,
    reason text,
    reason_code text,
    expected_state_version {int},
    state_version_after {int},
    cursor_before text,
    cursor_after text,
    request_count {int} not null,
    duplicate_count {int} not null,
    run_ids {json} not null,
    at {instant} not null
) {strict};
create unique index evaluation_eval_id on evaluation (eval_id);
create unique index evaluation_settled on evaluation (eval_key) where status in ('triggered', 'no_trigger');
create index evaluation_eval_key on evaluation (eval_key);
create index evaluation_sensor_id on evaluation (sensor, id desc);

create table arrival (
    sensor text not null,
    key text not null,
    eval_id text not null,
    at {instant} not null,
    primary key (sensor, key)
) {strict};

create table outbox (
    id {id},
    sensor text not null,
    eval_id text not null,
    partition text not null,
    payload {json},
    status text not null,
    attempts {int} not null,
    next_at {instant},
    error text,
    created_at {instant} not null,
    delivered_at {instant}
) {strict};
create index outbox_status_next on outbox (status, next_at);
create index outbox_sensor_id on outbox (sensor, id desc);

create table run (
    id {id},
    run_id text not null,
    run_key text not null,
    generation {int} not null,
    status text not null,
    asset text not null,
    selection {json} not null,
    partition text not null,
    fingerprint text not null,
    source_kind text not null,
    source_name text,
    evaluation_id text,
    payload {json},
    tags {json},
    priority {int} not null,
    force {bool} not null,
    io_manager text,
    patient {bool} not null,
    behind {bool} not null,
    attempt {int} not null,
    interruptions {int} not null,
    setbacks {int} not null,
    error text,
    reason text,
    retry_of text,
    requested_at {instant} not null,
    ready_at {instant},
    started_at {instant},
    completed_at {instant},
    boot text,
    fence {int} not null
) {strict};
create unique index run_run_id on run (run_id);
create index run_queue on run (status, priority desc, ready_at, id);
create index run_source on run (source_kind, source_name, status);

create table run_key (
    key text not null primary key,
    generation {int} not null,
    run_id text not null,
    fingerprint text not null,
    freed {bool} not null
) {strict};

create table run_conflict (
    id {id},
    run_key text not null,
    existing_fingerprint text not null,
    requested_fingerprint text not null,
    source text not null,
    at {instant} not null
) {strict};

create table materialization (
    id {id},
    run_id text not null,
    asset text not null,
    partition text not null,
    status text not null,
    attempt {int} not null,
    failures {int} not null,
    ready_at {instant},
    snoozed_since {instant},
    overtaken_by text,
    busy text,
    started_at {instant},
    completed_at {instant},
    duration {float},
    error text,
    reason text,
    stored {json},
    code_version text,
    data_version text,
    fence {int}
) {strict};
create unique index materialization_run_asset on materialization (run_id, asset);
create index materialization_asset_partition on materialization (asset, partition, status);
create index materialization_busy on materialization (busy) where busy is not null;

create table asset_event (
    id {id},
    asset text not null,
    partition text not null,
    run_id text not null,
    at {instant} not null
) {strict};
create index asset_event_asset_id on asset_event (asset, id);
create index asset_event_partition_id on asset_event (asset, partition, id);

create table node (
    name text not null primary key,
    boot text not null,
    pid {int} not null,
    host text not null,
    started_at {instant} not null,
    heartbeat_at {instant} not null
) {strict};

create table audit (
    id {id},
    event_type text not null,
    actor text not null,
    resource text not null,
    details {json} not null,
    at {instant} not null
) {strict};
create index audit_resource_id on audit (resource, id desc);
