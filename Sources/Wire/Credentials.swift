/// An access key, with a session token when it is temporary. Prints without its secrets.
package struct Credentials: Hashable, Sendable {
    package var accessKeyID: String
    package var secretAccessKey: String
    /// The STS token.
    package var sessionToken: String?

    package init(accessKeyID: String, secretAccessKey: String, sessionToken: String? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }
}

extension Credentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String {
        "Credentials(\(accessKeyID), secret redacted" + (sessionToken == nil ? ")" : ", token redacted)")
    }
    package var debugDescription: String { description }
    /// Keeps `dump` from printing the stored properties.
    package var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}
