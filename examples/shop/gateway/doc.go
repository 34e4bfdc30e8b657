// Package gateway is the shop's front door: it lets in who has a key, limits how
// much each of them asks for, bounds what they send and how long that may take,
// and hands the request to a live worker of the service it is for.
//
// It keeps nothing: any number of gateways may run side by side. A request is
// read whole before it is handed on, so that a slow caller holds no worker, and
// so that what a worker could not answer can be given to the next one.
package gateway
