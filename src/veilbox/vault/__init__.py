"""What must rest on disk rests here: encrypted files, and keys whose destruction destroys them."""
