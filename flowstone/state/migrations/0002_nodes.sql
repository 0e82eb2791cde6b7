-- Each start of a runtime is a row of its own; what was known of earlier ones is of no use any more.
drop table node;

create table node (
    number {id},
    boot text not null,
    name text not null,
    pid {int} not null,
    host text not null,
    session text,
    started_at {instant} not null,
    heartbeat_at {instant} not null,
    ended_at {instant},
    reason text,
    offers {json} not null,
    settled {int} not null
) {strict};
create unique index node_boot on node (boot);
create index node_living on node (number) where ended_at is null;

create table cluster (
    name text not null primary key,
    epoch {int} not null
) {strict};
insert into cluster (name, epoch) values ('nodes', 0);
