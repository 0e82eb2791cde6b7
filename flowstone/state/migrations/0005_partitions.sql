create table dynamic_partition (
    id {id},
    name text not null,
    key text not null,
    added_by text not null,
    added_at {instant} not null,
    removed_by text,
    removed_at {instant}
) {strict};
create unique index dynamic_partition_key on dynamic_partition (name, key) where removed_at is null;
