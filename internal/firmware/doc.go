// Package firmware is the table of what is known of rigs by their user agent:
// the class of coinbase that they hash without a mistake, and the difficulties
// to begin with. The table is data: a default is part of the program, and a file
// of the operator goes before it, read strictly and again on SIGHUP.
//
// Rows are matched in order, the first counts; who matches none is in the
// default class and begins with the port's difficulty. Classes themselves are
// constants (ADR 0011).
package firmware
