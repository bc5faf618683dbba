-- People and programs.
create table users (
    id uuid primary key,
    msp_id uuid references msps (id),
    customer_id uuid references customers (id),
    email text not null,
    name text not null,
    role text not null constraint users_role check (role in (
        'operator_admin', 'msp_admin', 'msp_operator', 'msp_analyst', 'msp_finance',
        'customer_admin', 'customer_billing', 'customer_viewer')),
    can_read_billing boolean not null default false,
    -- true: every customer of the MSP; false: the rows of user_customers
    sees_all_customers boolean not null default false,
    password_hash text not null,
    is_disabled boolean not null default false,
    created_at timestamptz not null,
    constraint users_scope check (
        (role = 'operator_admin' and msp_id is null and customer_id is null)
        or (role like 'msp\_%' and msp_id is not null and customer_id is null)
        or (role like 'customer\_%' and msp_id is not null and customer_id is not null))
);
create unique index users_email_unique on users (lower(email));

create table user_customers (
    user_id uuid not null references users (id),
    msp_id uuid not null references msps (id),
    customer_id uuid not null references customers (id),
    primary key (user_id, customer_id)
);

create table sessions (
    id uuid primary key,
    user_id uuid not null references users (id),
    token_hash bytea not null constraint sessions_token_unique unique,
    csrf_token text not null,
    created_at timestamptz not null,
    expires_at timestamptz not null,
    revoked_at timestamptz
);

create table api_keys (
    id uuid primary key,
    msp_id uuid not null references msps (id),
    -- set: the key acts for one customer only
    customer_id uuid references customers (id),
    control_plane_id uuid references control_planes (id),
    name text not null,
    prefix text not null,
    secret_hash bytea not null constraint api_keys_secret_unique unique,
    scopes text[] not null,
    created_at timestamptz not null,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz
);
