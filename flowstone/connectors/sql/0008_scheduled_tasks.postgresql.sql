-- Scheduled tasks, kept by the database itself: pg_cron calls run_due_tasks() each minute, whoever else runs or not.

create function emit_event(
    event_type text,
    payload json default '{}',
    event_id text default null,
    task text default null,
    scheduled_for timestamptz default null
) returns text language plpgsql
set search_path from current as $$
declare
    id text := coalesce(event_id, 'evt_' || replace(gen_random_uuid()::text, '-', ''));
    keeper text;
    content jsonb;
begin
    insert into event_log (event_id, event_type, task, payload, scheduled_for, at)
    values (id, emit_event.event_type, emit_event.task, emit_event.payload, emit_event.scheduled_for, clock_timestamp())
    on conflict do nothing;
    if not found then
        return id;
    end if;
    content := jsonb_build_object(
        'id', id, 'event_type', emit_event.event_type, 'payload', emit_event.payload, 'task', emit_event.task,
        'scheduled_for', to_char(emit_event.scheduled_for at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')
    );
    select kind into keeper from queue where name = 'flowstone_events';
    if keeper is null and to_regprocedure('pgmq.create(text)') is not null and current_schema() = 'public' then
        execute 'select pgmq.create($1)' using 'flowstone_events';
        insert into queue (name, kind, sent, created_at) values ('flowstone_events', 'pgmq', 0, clock_timestamp())
        on conflict do nothing;
        keeper := 'pgmq';
    elsif keeper is null then
        perform queue_create('flowstone_events');
    end if;
    if keeper = 'pgmq' then
        execute 'select pgmq.send($1, $2)' using 'flowstone_events', content;
    else
        perform queue_send('flowstone_events', content);
    end if;
    perform pg_notify('flowstone_' || md5(current_schema()), '');
    return id;
end $$;

create function run_scheduled_task(name text, at timestamptz default null) returns text language plpgsql
set search_path from current as $$
declare
    row scheduled_tasks;
    moment timestamptz := date_trunc('second', coalesce(at, clock_timestamp()));
    id text;
begin
    select * into row from scheduled_tasks t where t.name = run_scheduled_task.name for update;
    if not found then
        raise exception 'scheduled task "%" does not exist', name using errcode = 'no_data_found';
    end if;
    id := emit_event(
        row.event_type, row.payload, 'task:' || row.name || ':' || extract(epoch from moment)::bigint, row.name, moment
    );
    update scheduled_tasks t set updated_at = clock_timestamp() where t.name = row.name;
    return id;
end $$;

create function run_due_tasks() returns bigint language plpgsql
set search_path from current as $$
declare
    row record;
    newest timestamptz;
    first timestamptz;
    last timestamptz;
    missed bigint;
    fired bigint := 0;
begin
    insert into task_keeper (job, at) values (task_job(), clock_timestamp())
    on conflict (job) do update set at = excluded.at;
    for row in select t.name, t.event_type, t.payload from scheduled_tasks t
        where t.enabled and exists (
            select from scheduled_task_instant i where i.task = t.name and i.at <= clock_timestamp()
        ) order by t.name for update of t skip locked
    loop
        select max(i.at) into newest from scheduled_task_instant i
        where i.task = row.name and i.at <= clock_timestamp();
        select count(*), min(i.at), max(i.at) into missed, first, last from scheduled_task_instant i
        where i.task = row.name and i.at <= newest and (i.at < newest or newest < clock_timestamp() - interval '1 day');
        if missed > 0 then
            insert into event_log (event_id, event_type, task, payload, scheduled_for, at)
            values (
                'task:' || row.name || ':' || extract(epoch from last)::bigint, row.event_type, row.name, row.payload,
                last, clock_timestamp()
            ) on conflict do nothing;
            if found then
                insert into event_attempt (event_id, attempt, result, error, at) values (
                    'task:' || row.name || ':' || extract(epoch from last)::bigint, 0, 'missed',
                    format('%s from %s to %s: late', missed, first, last), clock_timestamp()
                );
            end if;
        end if;
        if newest >= clock_timestamp() - interval '1 day' then
            perform run_scheduled_task(row.name, newest);
            fired := fired + 1;
        end if;
        update scheduled_tasks t set accounted_until = newest where t.name = row.name;
    end loop;
    return fired;
end $$;

-- What people change by plain SQL takes effect at once: the instants of another timing are dropped with the change.
create function scheduled_task_changed() returns trigger language plpgsql
set search_path from current as $$
begin
    if new.name <> old.name or new.cron_expression <> old.cron_expression or new.timezone <> old.timezone
        or (new.enabled and not old.enabled)
    then
        delete from scheduled_task_instant i where i.task = old.name;
        new.accounted_until := null;
        new.timing := null;
    elsif new.accounted_until is distinct from old.accounted_until then
        delete from scheduled_task_instant i where i.task = old.name and i.at <= new.accounted_until;
    end if;
    return new;
end $$;
create trigger scheduled_task_changed before update on scheduled_tasks
for each row execute function scheduled_task_changed();

create function scheduled_task_deleted() returns trigger language plpgsql
set search_path from current as $$
begin
    delete from scheduled_task_instant i where i.task = old.name;
    return old;
end $$;
create trigger scheduled_task_deleted after delete on scheduled_tasks
for each row execute function scheduled_task_deleted();

create function scheduled_task_told() returns trigger language plpgsql
set search_path from current as $$
begin
    perform pg_notify('flowstone_' || md5(current_schema()), '');
    return null;
end $$;
create trigger scheduled_task_told after insert or update or delete on scheduled_tasks
for each statement execute function scheduled_task_told();

create function task_job() returns text language sql stable
set search_path from current as $$ select 'flowstone ' || current_schema() $$;

-- Lets pg_cron call run_due_tasks() each minute, where it is installed and open to us; whether it does.
create function keep_tasks() returns boolean language plpgsql
set search_path from current as $$
begin
    if to_regprocedure('cron.schedule(text,text,text)') is null then
        return false;
    end if;
    execute 'select cron.schedule($1, $2, $3)'
        using task_job(), '* * * * *', format('select %I.run_due_tasks()', current_schema());
    return true;
exception when insufficient_privilege then
    return false;
end $$;

-- Whether pg_cron calls run_due_tasks(): the job is there, and active.
create function tasks_kept() returns boolean language plpgsql stable
set search_path from current as $$
declare
    kept boolean := false;
begin
    if to_regclass('cron.job') is not null then
        execute 'select exists (select from cron.job where jobname = $1 and active)' into kept using task_job();
    end if;
    return kept;
exception when insufficient_privilege then
    return false;
end $$;

-- Under these names SQL users find them; a store in the schema public has them in the schema flowstone as well.
do $$
begin
    if current_schema() = 'public' then
        create schema if not exists flowstone;
        create or replace view flowstone.scheduled_tasks as select * from public.scheduled_tasks;
        alter view flowstone.scheduled_tasks alter column payload set default '{}';
        alter view flowstone.scheduled_tasks alter column timezone set default 'UTC';
        alter view flowstone.scheduled_tasks alter column enabled set default true;
        create or replace view flowstone.event_log as select * from public.event_log;
        create or replace function flowstone.run_scheduled_task(name text, at timestamptz default null) returns text
        language sql as 'select public.run_scheduled_task(name, at)';
        create or replace function flowstone.emit_event(event_type text, payload json default '{}') returns text
        language sql as 'select public.emit_event(event_type, payload)';
    end if;
end $$;
