import ArgumentParser
import Glibc
import HTTP
import Inventory
import Logging
import Metadata
import ThawCore

/// `thawfs cache import`: what `-o inventory` does, ahead of a mount.
struct CacheImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Load an inventory report of a bucket, so that a mount need not list it.",
        usage: "thawfs cache import SOURCE MANIFEST [-o option=value,...]",
        discussion: """
            The source must not be mounted; its options are those that it is mounted with, as far as they are about \
            where it is and about its state_dir. How long a mount trusts what was loaded, from now on, says its \
            metadata_ttl.
            """)

    @Argument(help: "oss://BUCKET[/PREFIX] or s3://BUCKET[/PREFIX]")
    var source: String

    @Argument(help: "The key of the report's manifest.json, or a prefix whose newest manifest counts; s3://BUCKET/KEY in another bucket.")
    var manifest: String

    @Option(name: .customShort("o"), help: "Options of the mount, separated by commas; may be repeated.")
    var options: [String] = []

    func run() async throws {
        let environment = currentEnvironment()
        let source = try Source(source)
        let options = try MountOptions(optionLists: options, environment: environment)
        guard let location = InventoryLocation(manifest, in: source.dialect) else {
            throw UsageError("“\(manifest)”: expected \(MountOption.inventory.expectation)")
        }
        let load = try InventoryLoad(source, location)
        let configuration = try options.storeConfiguration(source, environment: environment)
        let level = try options.logLevel()
        let log = Logger(label: "thawfs") { LogLine(label: $0, level: level, descriptor: STDERR_FILENO) }
        let state = try openState(try StateLocation(source, configuration, options, environment).path)
        let http = try options.httpClient()
        let connection = try StoreConnection(source, configuration, options, environment, http, log)
        let outcome = try await load.run(state, connection, onlyNewer: false, log)
        http.shutdown()
        printLines(["loaded \(outcome.objects) objects of \(source.text)"])
        withExtendedLifetime(state) {}
    }

    private func openState(_ path: String) throws -> StateDirectory {
        do throws(MetadataError) { return try StateDirectory(path: path, holder: "thawfs cache import") } catch {
            guard case .inUse = error else { throw error }
            throw UsageError("\(error); unmount it first, or mount it anew with -o inventory=\(manifest)")
        }
    }
}
