-- Every limit stretches or refuses. Whoever had a rate was refused above it, and stays so; jobs were never refused.
alter table customer_limits
    add column jobs_are_hard boolean not null default false,
    add column api_is_hard boolean not null default true;

-- How much of its rate a customer's programs used at most lately, as a replica saw it at the door.
alter table alert_watches
    add column api_percent int,
    add column api_at timestamptz;

alter function control.secure(text) rename to secure_before_limits;
create function control.secure(prefix text) returns void language plpgsql set search_path = control, pg_temp as $$
begin
    perform secure_before_limits(prefix);
    -- Whoever lets a program in knows whether it is refused above the rate.
    execute format('grant select (api_is_hard) on control.customer_limits to %I', prefix || '_access');
end
$$;
revoke execute on function control.secure(text) from public;
