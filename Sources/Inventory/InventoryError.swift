package import Metadata
package import ObjectStore

/// What is wrong with a report, or with a part of one, in words that go on a sentence.
struct InventoryProblem: Error, Equatable { let reason: String }

/// Why a report was not loaded. What was known before is unchanged.
package enum InventoryError: Error, Sendable {
    /// What was asked for, and what the store said.
    case store(String, StoreError)
    /// No manifest below this prefix.
    case noManifest(String)
    /// A file of the report, or its manifest, and what is wrong with it.
    case unreadable(String, reason: String)
    case metadata(MetadataError)

    static func unreadable(_ file: String, _ problem: InventoryProblem) -> InventoryError {
        .unreadable(file, reason: problem.reason)
    }
}

extension InventoryError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .store(let file, let error): "inventory \(file): \(error)"
        case .noManifest(let prefix): "inventory \(prefix): there is no manifest.json below it"
        case .unreadable(let file, let reason): "inventory \(file): \(reason)"
        case .metadata(let error): "\(error)"
        }
    }
}
