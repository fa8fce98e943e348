package import Wire

/// How an emulated store is set up.
package struct EmulatorConfiguration: Sendable {
    package var host = "127.0.0.1"
    /// 0 takes a free one.
    package var port = 9000
    /// Nil keeps everything in memory.
    package var dataDirectory: String?
    /// Both for https, in PEM.
    package var certificateFile: String?
    package var keyFile: String?
    /// The host name whose subdomains are buckets; those of `localhost` are too.
    package var domain = "localhost"
    package var credentials = [Credentials(accessKeyID: "thawfs", secretAccessKey: "thawfs-secret")]
    /// The one session token that is taken; requests without any are taken too.
    package var sessionToken: String?
    /// The one region that signatures may name; nil for any.
    package var region: String?
    /// Virtual seconds in a real one.
    package var timeScale = 1.0
    /// Verifies no signature.
    package var isLenient = false
    /// Created at the start, unless they exist.
    package var buckets: [String] = []

    package init() {}
}

/// Why the emulator did not start, for its user to read.
package struct EmulatorError: Error, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
