create table queue (
    name text not null primary key,
    kind text not null,
    sent {int} not null,
    created_at {instant} not null
) {strict};

create table queue_message (
    queue text not null,
    msg_id {int} not null,
    read_ct {int} not null,
    enqueued_at {instant} not null,
    last_read_at {instant},
    vt {instant} not null,
    message {json} not null,
    headers {json},
    primary key (queue, msg_id)
) {strict};
create index queue_message_visible on queue_message (queue, vt, msg_id);

create table queue_archive (
    queue text not null,
    msg_id {int} not null,
    read_ct {int} not null,
    enqueued_at {instant} not null,
    last_read_at {instant},
    archived_at {instant} not null,
    vt {instant} not null,
    message {json} not null,
    headers {json},
    primary key (queue, msg_id)
) {strict};

create table scheduled_tasks (
    name text not null primary key,
    cron_expression text not null,
    event_type text not null,
    payload {json} not null default '{}',
    timezone text not null default 'UTC',
    enabled {bool} not null default '1',
    updated_at {instant},
    accounted_until {instant},
    timing text
) {strict};

create table scheduled_task_instant (
    task text not null,
    at {instant} not null,
    primary key (task, at)
) {strict};

create table task_keeper (
    job text not null primary key,
    at {instant} not null
) {strict};

create table event_log (
    id {id},
    event_id text not null,
    event_type text not null,
    task text,
    payload {json} not null,
    scheduled_for {instant},
    at {instant} not null
) {strict};
create unique index event_log_event_id on event_log (event_id);
create index event_log_task_id on event_log (task, id desc);

create table event_attempt (
    id {id},
    event_id text not null,
    attempt {int} not null,
    result text not null,
    error text,
    duration {float},
    at {instant} not null
) {strict};
create index event_attempt_event_id on event_attempt (event_id, id desc);

create table dead_letter (
    id text not null primary key,
    event_type text not null,
    payload {json} not null,
    error text not null,
    deliveries {int} not null,
    at {instant} not null
) {strict};
