// Package retail turns an order file in the layout of the UCI Online Retail
// data set into what the shop is told to do.
//
// The file goes in whole: [ReadFile] reads and checks every row and returns a
// [Plan], or a [*RowError] that names the row, the column and the limit, in
// which case nothing has been driven anywhere. A Plan is the catalogue and the
// [Step]s in the order in which their invoices first appear in the file.
// [Generate] writes a file of the same layout with all traits of the real one,
// so that made-up and real orders take the same way into the shop.
//
// # The rules
//
// Rows with one InvoiceNo are one step, also when other invoices stand between
// them; its time is that of its first row. A line is known by its InvoiceNo and
// its ordinal, its 1-based place among the rows of the invoice: two rows with
// the same content are two lines. StockCodes are exact bytes: "85099b" and
// "85099B" are two articles.
//
//   - A… is a [BillingAdjustment].
//   - C… is a [Cancellation]. With a customer, each of its rows takes units not
//     yet returned from the customer's lines of the same StockCode in orders
//     that come before it, newest line first, at any price and from any
//     country. Units that find no line, and all of a cash cancellation, are
//     goodwill: a credit without a return. The credit is at the C row's own
//     price and in its own country.
//   - Another invoice is an [Order] when it has a customer or any price above
//     zero, else an [Adjustment] of the stock.
//
// Money is an int64 in tenths of a penny (£0.001), because some prices are that
// small. Quantities are int64 units.
package retail
