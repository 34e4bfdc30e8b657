// Package check judges a run of the shop. It reads the order file by itself and
// computes, by the rules alone, what the services' databases have to say after
// the file has been driven in ([Expect]), and compares that with what they do
// say ([Compare]).
//
// A judge that shared code with the judged would share its mistakes: this
// package imports the standard library only, neither the shop nor the package
// that turns the file into commands, and finds the lines that cancelled units
// come from by another method than that one.
//
// Money is an int64 in tenths of a penny, quantities are int64 units. An
// invoice is known by its InvoiceNo, an article by its StockCode, to the byte.
package check
