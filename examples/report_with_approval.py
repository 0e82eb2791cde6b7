"""A daily report that people approve when the day is unusual: it waits, holding no thread, until somebody decides.

Run it: python examples/report_with_approval.py
"""

from datetime import date

import flowstone as fs

shop = fs.Pipeline("shop")
SALES = {date(2025, 1, 14): [12.5, 20.0], date(2025, 1, 15): [12.5, 20.0, 9_999.0]}


@shop.asset(partitions=fs.Daily(start="2025-01-01"))
def sales(context):
    """What was sold on one day."""
    return SALES[context.partition]


@shop.asset
def daily_report(context, sales):
    """The sum of a day; one that looks wrong is asked about first."""
    if max(sales) > 1_000 and context.approval is None:
        return fs.WaitForApproval("unusually large sale", context={"largest": max(sales)}, timeout="1d")
    limit = (context.approval.payload or {}).get("limit") if context.approval else None
    return round(sum(amount for amount in sales if limit is None or amount <= limit), 2)


shop.schedule("daily_report", cron="0 2 * * *", target="+daily_report", partition=fs.previous_day)


if __name__ == "__main__":
    with fs.Runtime(shop, store="memory://") as runtime:
        print("14 January:", runtime.materialize_all("daily_report", partition="2025-01-14")["daily_report"].value)
        handle = runtime.materialize_async("+daily_report", partition="2025-01-15")
        runtime.drain(timeout=10)
        [question] = runtime.approvals.list_pending()
        print("15 January waits:", question.message, question.context)
        runtime.approvals.modify(question.id, payload={"limit": 1_000}, by="ada", reason="a typing error")
        print("15 January:", handle.result(timeout=10).value)
        decided = runtime.approvals.get(question.id)
        print("decided by", decided.by, "since it was", decided.reason)
