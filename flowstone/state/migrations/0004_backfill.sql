create table backfill (
    id {id},
    backfill_id text not null,
    asset text not null,
    status text not null,
    max_parallel {int} not null,
    force {bool} not null,
    fingerprint text not null,
    started_by text not null,
    created_at {instant} not null,
    completed_at {instant}
) {strict};
create unique index backfill_backfill_id on backfill (backfill_id);
create index backfill_open on backfill (status) where status = 'running' or status = 'paused';

create table backfill_partition (
    id {id},
    backfill_id text not null,
    partition text not null,
    status text not null,
    run_id text,
    retry_of text,
    error text,
    completed_at {instant}
) {strict};
create unique index backfill_partition_backfill_id_partition on backfill_partition (backfill_id, partition);
create index backfill_partition_status on backfill_partition (backfill_id, status, id);
