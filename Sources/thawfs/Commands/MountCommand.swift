import ArgumentParser
import Glibc

/// `thawfs mount`: returns when the mount is usable, or with the reason it is not.
struct MountCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mount", abstract: "Mount a bucket, or a prefix of one, on a directory.",
        usage: "thawfs mount SOURCE MOUNTPOINT [-f] [-o option,option=value,...]", discussion: MountOption.help)

    @Argument(help: "oss://BUCKET[/PREFIX], s3://BUCKET[/PREFIX] or oas://VAULT[/PREFIX]; without a bucket, all of the account")
    var source: String

    @Argument(help: "The directory to mount on.")
    var mountpoint: String

    @Flag(name: [.customShort("f"), .customLong("foreground")], help: "Stay in front, and log to standard error.")
    var isForeground = false

    @Option(name: .customShort("o"), help: "Options, separated by commas; may be repeated.")
    var options: [String] = []

    func run() async throws {
        let environment = currentEnvironment()
        let plan = try MountPlan(
            source: Source(source), mountpoint: Mountpoint(mountpoint),
            options: MountOptions(optionLists: options, environment: environment), environment: environment)
        if isForeground { return try await plan.serve(reportingTo: nil) }
        if let descriptor = Readiness.descriptor(environment) {
            return try await plan.serve(reportingTo: descriptor)
        }
        try Mountpoint.checkDevice()
        try Readiness.startBackground(CommandLine.arguments, environment)
    }
}

func currentEnvironment() -> [String: String] {
    var result: [String: String] = [:]
    var next = environ
    while let entry = next.pointee {
        let parts = String(cString: entry).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2 { result[String(parts[0])] = String(parts[1]) }
        next += 1
    }
    return result
}
