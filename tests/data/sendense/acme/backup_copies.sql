-- Written by hand in the shape of mysqldump --tab.
DROP TABLE IF EXISTS `backup_copies`;
CREATE TABLE `backup_copies` (
  `id` varchar(64) NOT NULL,
  `source_backup_id` varchar(64) NOT NULL,
  `repository_id` varchar(64) NOT NULL,
  `status` enum('pending','copying','verifying','completed','failed') NOT NULL,
  `size_bytes` bigint DEFAULT NULL,
  `copy_started_at` timestamp NULL DEFAULT NULL,
  `copy_completed_at` timestamp NULL DEFAULT NULL,
  `verified_at` timestamp NULL DEFAULT NULL,
  `verification_status` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
