-- A service level never counts more days than were due.
with machine_months as (
    select * from machine_months
),

final as (
    select machine_id, period
    from machine_months
    where days_met > days_scheduled or days_scheduled + days_excused > 31
)

select * from final
