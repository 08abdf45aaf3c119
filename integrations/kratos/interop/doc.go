// Package interop shows that the registries for kratos and kratos's own adapter for
// Consul understand each other, and what becomes of the bugs of that adapter. It has
// tests only, in a module of its own because of what they depend on.
package interop
