alter table materialization add column approval text;
create index materialization_running on materialization (asset) where status = 'running';
create index run_retry_of on run (retry_of) where retry_of is not null;

create table approval (
    id {id},
    approval_id text not null,
    run_id text not null,
    asset text not null,
    partition text not null,
    message text not null,
    context {json},
    timeout {float},
    on_timeout text not null,
    deadline {instant},
    escalations {int} not null,
    status text not null,
    decided_by text,
    reason text,
    payload {json},
    requested_at {instant} not null,
    decided_at {instant}
) {strict};
create unique index approval_approval_id on approval (approval_id);
create index approval_run_id on approval (run_id);
create index approval_open on approval (deadline) where status = 'pending';

create table lineage_edge (
    run_id text not null,
    asset text not null,
    partition text not null,
    upstream_asset text not null,
    upstream_partition text not null,
    upstream_run_id text,
    data_version text,
    primary key (run_id, asset, upstream_asset, upstream_partition)
) {strict};

create table lineage_link (
    asset text not null,
    partition text not null,
    upstream_asset text not null,
    upstream_partition text not null,
    primary key (asset, partition, upstream_asset, upstream_partition)
) {strict};
create index lineage_link_upstream on lineage_link (upstream_asset, upstream_partition);

create table invalidation (
    id {id},
    asset text not null,
    partition text not null,
    event {int} not null,
    actor text not null,
    reason text,
    at {instant} not null
) {strict};
create index invalidation_asset_partition on invalidation (asset, partition, event);
