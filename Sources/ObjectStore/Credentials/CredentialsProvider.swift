package import ThawCore
package import Wire

/// Where a store gets its credentials from.
package protocol CredentialsProvider: Sendable {
    /// Credentials that are good now and for some minutes.
    func credentials() async throws(CredentialsError) -> Credentials
    /// The store refused these as expired or unknown: do not give them again unless there are no others.
    func discard(_ credentials: Credentials) async
}

/// Credentials given once and for all.
package struct FixedCredentials: CredentialsProvider {
    private let fixed: Credentials
    package init(_ credentials: Credentials) { fixed = credentials }
    package func credentials() async throws(CredentialsError) -> Credentials { fixed }
    package func discard(_ credentials: Credentials) async {}
}

/// Credentials with the time at which they end, if they do.
package struct Lease: Sendable, Equatable {
    package var credentials: Credentials
    package var expires: Timestamp?
    /// Renewal starts this long before the end.
    package var margin: Duration

    package init(_ credentials: Credentials, expires: Timestamp? = nil, margin: Duration = .seconds(600)) {
        self.credentials = credentials
        self.expires = expires
        self.margin = margin
    }
}

/// One place where credentials may be kept.
package protocol CredentialsSource: Sendable {
    /// What messages call this place.
    var name: String { get }
    /// The credentials, or why there are none here. Throws when they should be here but cannot be had.
    func load() async throws(CredentialsError) -> Finding
}

package enum Finding: Sendable, Equatable {
    case found(Lease)
    /// The reason, for the message that lists all places.
    case absent(String)
}

/// Why there are no credentials. Never holds a secret.
package struct CredentialsError: Error, Equatable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
