-- The queue's functions, named and meant as those of pgmq, on tables of ours: for where that extension is not installed.

create type queue_record as (
    msg_id bigint,
    read_ct bigint,
    enqueued_at timestamptz,
    last_read_at timestamptz,
    vt timestamptz,
    message jsonb,
    headers jsonb
);

create function queue_sequence(queue_name text) returns text language sql immutable as
$$ select 'queue_' || queue_name || '_msg_id' $$;

create function queue_known(queue_name text) returns void language plpgsql
set search_path from current as $$
begin
    if not exists (select from queue where name = queue_name and kind = 'flowstone') then
        raise exception 'queue "%" does not exist', queue_name using errcode = 'undefined_table';
    end if;
end $$;

create function queue_create(queue_name text) returns void language plpgsql
set search_path from current as $$
begin
    if queue_name !~ '^[a-z0-9_]+$' or length(queue_name) > 47 then
        raise exception 'expected a queue name of 1 to 47 letters a-z, digits or _, got: "%"', queue_name
            using errcode = 'invalid_name';
    end if;
    execute format('create sequence if not exists %I as bigint', queue_sequence(queue_name));
    insert into queue (name, kind, sent, created_at) values (queue_name, 'flowstone', 0, clock_timestamp())
    on conflict do nothing;
end $$;

create function queue_drop_queue(queue_name text) returns boolean language plpgsql
set search_path from current as $$
begin
    delete from queue where name = queue_name and kind = 'flowstone';
    if not found then
        return false;
    end if;
    delete from queue_message m where m.queue = queue_name;
    delete from queue_archive a where a.queue = queue_name;
    execute format('drop sequence if exists %I', queue_sequence(queue_name));
    return true;
end $$;

create function queue_send_batch(
    queue_name text, msgs jsonb[], headers jsonb[] default null, delay double precision default 0
) returns setof bigint language plpgsql
set search_path from current as $$
begin
    perform queue_known(queue_name);
    return query
    insert into queue_message (queue, msg_id, read_ct, enqueued_at, vt, message, headers)
    select queue_name, nextval(queue_sequence(queue_name)), 0, clock_timestamp(),
        clock_timestamp() + make_interval(secs => delay), each.msg::json, headers[each.place]::json
    from unnest(msgs) with ordinality as each (msg, place) order by each.place
    returning queue_message.msg_id;
end $$;

create function queue_send(
    queue_name text, msg jsonb, headers jsonb default null, delay double precision default 0
) returns setof bigint language sql
set search_path from current as
$$ select * from queue_send_batch(queue_name, array[msg], array[headers], delay) $$;

create function queue_read(queue_name text, vt double precision, qty bigint) returns setof queue_record
language plpgsql
set search_path from current as $$
begin
    return query
    with visible as (
        select m.msg_id from queue_message m
        where m.queue = queue_name and m.vt <= clock_timestamp()
        order by m.vt, m.msg_id limit qty for update skip locked
    ), taken as (
        update queue_message m set read_ct = m.read_ct + 1, last_read_at = clock_timestamp(),
            vt = clock_timestamp() + make_interval(secs => queue_read.vt)
        from visible where m.queue = queue_name and m.msg_id = visible.msg_id
        returning m.*
    )
    select t.msg_id, t.read_ct, t.enqueued_at, t.last_read_at, t.vt, t.message::jsonb, t.headers::jsonb
    from taken t order by t.msg_id;
    if not found then
        perform queue_known(queue_name);
    end if;
end $$;

create function queue_read_with_poll(
    queue_name text,
    vt double precision,
    qty bigint,
    max_poll_seconds double precision default 5,
    poll_interval_ms double precision default 100
) returns setof queue_record language plpgsql
set search_path from current as $$
declare
    until timestamptz := clock_timestamp() + make_interval(secs => max_poll_seconds);
begin
    loop
        return query select * from queue_read(queue_name, vt, qty);
        if found or clock_timestamp() >= until then
            return;
        end if;
        perform pg_sleep(poll_interval_ms / 1000);
    end loop;
end $$;

create function queue_pop(queue_name text, qty bigint default 1) returns setof queue_record language plpgsql
set search_path from current as $$
begin
    return query
    with visible as (
        select m.msg_id from queue_message m
        where m.queue = queue_name and m.vt <= clock_timestamp()
        order by m.vt, m.msg_id limit qty for update skip locked
    ), gone as (
        delete from queue_message m using visible where m.queue = queue_name and m.msg_id = visible.msg_id
        returning m.*
    )
    select g.msg_id, g.read_ct, g.enqueued_at, g.last_read_at, g.vt, g.message::jsonb, g.headers::jsonb
    from gone g order by g.msg_id;
    if not found then
        perform queue_known(queue_name);
    end if;
end $$;

create function queue_archive(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql
set search_path from current as $$
begin
    perform queue_known(queue_name);
    return query
    with gone as (
        delete from queue_message m where m.queue = queue_name and m.msg_id = any (msg_ids) returning m.*
    )
    insert into queue_archive (
        queue, msg_id, read_ct, enqueued_at, last_read_at, archived_at, vt, message, headers
    )
    select g.queue, g.msg_id, g.read_ct, g.enqueued_at, g.last_read_at, clock_timestamp(), g.vt, g.message, g.headers
    from gone g returning queue_archive.msg_id;
end $$;

create function queue_archive(queue_name text, msg_id bigint) returns boolean language sql
set search_path from current as
$$ select exists (select from queue_archive(queue_name, array[msg_id])) $$;

create function queue_delete(queue_name text, msg_ids bigint[]) returns setof bigint language plpgsql
set search_path from current as $$
begin
    perform queue_known(queue_name);
    return query
    delete from queue_message m where m.queue = queue_name and m.msg_id = any (msg_ids) returning m.msg_id;
end $$;

create function queue_delete(queue_name text, msg_id bigint) returns boolean language sql
set search_path from current as
$$ select exists (select from queue_delete(queue_name, array[msg_id])) $$;

create function queue_set_vt(queue_name text, msg_id bigint, vt double precision) returns setof queue_record
language plpgsql
set search_path from current as $$
begin
    perform queue_known(queue_name);
    return query
    update queue_message m set vt = clock_timestamp() + make_interval(secs => queue_set_vt.vt)
    where m.queue = queue_name and m.msg_id = queue_set_vt.msg_id
    returning m.msg_id, m.read_ct, m.enqueued_at, m.last_read_at, m.vt, m.message::jsonb, m.headers::jsonb;
end $$;

create function queue_purge_queue(queue_name text) returns bigint language plpgsql
set search_path from current as $$
declare
    gone bigint;
begin
    perform queue_known(queue_name);
    delete from queue_message m where m.queue = queue_name;
    get diagnostics gone = row_count;
    return gone;
end $$;

create type queue_metrics_record as (
    queue_name text,
    queue_length bigint,
    newest_msg_age_sec integer,
    oldest_msg_age_sec integer,
    total_messages bigint,
    scrape_time timestamptz,
    queue_visible_length bigint
);

create function queue_metrics(queue_name text) returns setof queue_metrics_record language plpgsql
set search_path from current as $$
declare
    total bigint;
begin
    perform queue_known(queue_name);
    execute format('select case when is_called then last_value else 0 end from %I', queue_sequence(queue_name))
        into total;
    return query
    select queue_name, count(*), extract(epoch from clock_timestamp() - max(m.enqueued_at))::integer,
        extract(epoch from clock_timestamp() - min(m.enqueued_at))::integer, total, clock_timestamp(),
        count(*) filter (where m.vt <= clock_timestamp())
    from queue_message m where m.queue = queue_name;
end $$;
